# The exact answers, or the original's recipe: at most 8 words, one sentence at a time.
RECIPE ?= exact
CHOICES_RECIPE = exact original
SEQ_LENS ?= $(if $(filter original,$(RECIPE)),8,auto)
$(if $(filter original,$(RECIPE)),$(if $(filter-out 1,$(BS)),$(error RECIPE=original has batch size 1 alone, not BS='$(BS)')))
