# bert.mk - a Hugging Face BERT: its weights, its tokenizer, the surgery on its graph; includes lengths.mk.
#
# A model's Makefile gives these facts beside those of model.mk and lengths.mk:
#
#   CHECKPOINT_<profile>    a folder with config.json, and with weights where the profile has them
#   [TOKENIZER_<profile>]   the folder with the vocabulary, where that is another one
#   GRAPH_INPUTS            the graph's inputs, in its order
#
# In the flags: $(weights), what every pth2onnx.py of a BERT is told.
#
# What the caller may set:
#
#   TOKENIZER  the folder with the vocabulary: a whole path

KNOBS += TOKENIZER
FILES += TOKENIZER
TOKENIZER ?= $(or $(TOKENIZER_$(PROFILE)),$(CHECKPOINT))

weights = --inputs $(INPUTS) --kind $(KIND) $(if $(filter random,$(KIND)),--random_weights)
MODIFY_ONNX = $(EXPORT)/$(ONNX) model.onnx --batch_size $(N) --inputs $(INPUTS)
ATTENTION = $(or $(CONFIG_FILE),$(CHECKPOINT)/config.json)

include $(dir $(lastword $(MAKEFILE_LIST)))lengths.mk
