# The torch-aie route: the network traced, compiled and run on the same samples, in the same report.
ROUTE ?= om
CHOICES_ROUTE = om torch_aie
ONCE = $(if $(filter torch_aie,$(ROUTE)),export_trace_model)
EACH = $(if $(filter torch_aie,$(ROUTE)),run_torch_aie)
FLAGS_export_trace_model = --model_path $(if $(filter random,$(KIND)),$(EXPORT)/weights,$(CHECKPOINT)) --save_path bert_large_ner.pt
FLAGS_run_torch_aie = --ts_model_path $(OUT)/export_trace_model/bert_large_ner.pt --inputs $(INPUTS) \
	--recipe $(RECIPE) --seq_len $(subst $(space),$(comma),$(seq_lens)) --batch_size $(N) \
	--device $(DEVICE) $(if $(standin),--backend cpu,--soc_version $(SOC)) --save_path .
