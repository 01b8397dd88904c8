# lengths.mk - how samples of differing lengths become rows of few lengths; includes model.mk.
#
# A model's Makefile gives SEQ_LENS, its original's one length, and where in its flags $(lengths) stands; further facts:
#
#   [GRAPH_INPUTS]   the graph's inputs, where one offline model takes all gears; ATC calls that dynamic dims
#   [ATTENTION]      config.json of the network, where it is a BERT: on a chip, or its twin, auto then chooses among multiples of
#                    32, at which ATC fuses attention (npukit.nets.fusions), and `make show` says what it fuses
#   [LENGTHS_FLAG]   what preprocess.py calls the lengths, if not --seq_len
#
# What the caller may set:
#
#   SEQ_LENS   one length; several, "32 64 128", are gears (length buckets); auto: the best GEARS for the corpus
#   GEARS      how many gears auto may choose
#   GEAR_COST  what each length costs on this chip, as measured there (make facts); auto weighs lengths by it

KNOBS += SEQ_LENS GEARS GEAR_COST
GEARS ?= 8
GEAR_COST ?= $(wildcard $(CURDIR)/costs/$(SOC).json)
LENGTHS_FLAG ?= --seq_len

seq_lens = $(file <$(INPUTS)/seq_lens.txt)
longest = $(lastword $(seq_lens))
lengths = $(LENGTHS_FLAG) $(subst $(space),$(comma),$(SEQ_LENS)) --gears $(GEARS) $(if $(GEAR_COST),--gear_cost $(GEAR_COST)) \
	$(if $(ATTENTION),$(if $(filter cpu,$(SOC)),,--multiple_of 32))
ATC = $(INPUTS)/seq_lens.txt
PERF = $(if $(and $(GRAPH_INPUTS),$(word 2,$(seq_lens))),--dymDims "$(subst $(space),;,$(GRAPH_INPUTS:%=%:$(N)$(comma)$(longest)))")

# The lengths as asked for, or as auto has chosen them; else, on a chip, what it will choose among.
known_lengths = $(or $(filter-out auto,$(SEQ_LENS)),$(seq_lens))
fusions = $(if $(and $(wildcard $(ATTENTION)),$(or $(known_lengths),$(filter-out cpu,$(SOC)))),$(PYTHON3) -m npuops fusions $(ATTENTION) \
	--model $(model) --batch_sizes $(BS) --lengths $(call quoted,$(known_lengths)))

include $(dir $(lastword $(MAKEFILE_LIST)))model.mk
