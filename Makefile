# npukit - NLP models from raw text to report on Ascend 310P, one command each; without an NPU, on this CPU.
#
#   make all                               every model, tiny profile, on this CPU: a table, in minutes, from nothing
#   make MODEL=bilstm_crf BS="1 32" PROFILE=released all
#   make SOC=Ascend310P3 MODEL=... all     on the NPU, with CANN
#   make SOC=Ascend310P3 STANDIN=1 all     the twin: the stand-in in the chip's arithmetic
#
#   MODEL    one or several of models/; all of them if not given
#   BS       batch sizes, "1 8 32", or all that the original has; default 1
#   PROFILE  tiny (default), random, trained, released: which text, which weights; README.md, "Profiles"
#   SOC      cpu (default), auto (ask npu-smi), Ascend310P3
#   DEVICE   the chip's number, default 0
#   V=1      show the commands and all that they print
#   ENGINE   docker, podman or none; found by trying: docker/engine.mk. DEVICES="0 1" spreads a run over several chips
#   LOCAL    a folder from which fetch takes files by digest

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

root := $(CURDIR)
$(if $(word 2,$(root)),$(error the checkout lies in '$(root)': make cannot work in a path with blanks))
include common/python.mk

MODELS := $(sort $(patsubst models/%/Makefile,%,$(wildcard models/*/Makefile)))
STAGES := preprocess pth2onnx modify_onnx atc infer perf postprocess
MODEL ?= $(MODELS)
PROFILE ?= tiny
SOC ?= cpu
STANDIN ?=
BS ?= 1
DEVICE ?= 0
DATA ?= $(root)/data
OUT_ROOT ?= $(root)/out
LOCAL ?=

$(if $(filter auto,$(SOC)),$(eval override SOC := $(chip)))
$(foreach m,$(or $(filter-out $(MODELS),$(MODEL)),$(if $(strip $(MODEL)),,'')),$(error there is no model $m; there are: $(MODELS)))

# A batch size that one of the models does not have is answered before the others have run.
empty :=
space := $(empty) $(empty)
batches_of = $(shell sed -n 's/^BATCHES = //p' models/$1/Makefile)
$(foreach m,$(MODEL),$(foreach has,$(subst $(space),/,$(call batches_of,$m)),$(foreach n,$(filter-out all $(subst /, ,$(has)),$(BS)),\
	$(error $m has no batch size $n; it has: $(subst /, ,$(has)), or BS=all))))

$(call number,DEVICE)

# Sets `engine` where the job runs in a container; the rules between here and `endif` are those for this machine.
include docker/engine.mk
ifndef engine

# --- One job a model ----------------------------------------------------------

# The goals are handed on as they were given, but for all: the table comes once, at the end.
goals := $(patsubst all,reports,$(filter $(STAGES) all train clean why,$(MAKECMDGOALS)))
jobs := $(MODEL:%=job-%)

.PHONY: $(STAGES) train all clean why fetch ledger results $(jobs)
$(STAGES) train why: $(jobs)
clean: $(jobs) ## remove what the models' stages made
$(jobs): job-%:
	@$(MAKE) -C models/$* SOC=$(SOC) $(goals)

batches = $(if $(filter all,$(BS)),*,$(BS))
folder = $(OUT_ROOT)/$(SOC)$(if $(filter cpu,$(SOC)),,$(if $(STANDIN),-standin))/$(PROFILE)
all: $(jobs) ## every stage of every model, then the table; fails if a gate does
	@$(PYTHON) -m npukit results $(OUT_ROOT) --judge $(foreach m,$(MODEL),$(foreach n,$(batches),$(folder)/$m/bs$n/postprocess/report.json))

# --- Data and results ---------------------------------------------------------

fetch: $(VENV)/ready ## bring the released corpora to data/, by digest (the only target that uses the network)
	$(PYTHON) -m npukit fetch --data $(DATA) --profile $(PROFILE) $(if $(LOCAL),--local $(LOCAL)) $(wildcard $(MODEL:%=models/%/assets.toml))

ledger: $(VENV)/ready ## each form of the network, PyTorch to offline model: metric and closeness
	@$(PYTHON) -m npukit ledger $(foreach m,$(MODEL),$(foreach n,$(batches),$(wildcard $(folder)/$m/bs$n/postprocess/report.json)))

results: $(VENV)/ready ## the table of every report there is
	@$(PYTHON) -m npukit results $(OUT_ROOT)

endif

# --- The environment and the tests, on this machine ---------------------------

.PHONY: setup doctor test bench lint lint-images
doctor: ## what this machine, or this container, has for a job, and how to mend what it lacks
	@OUT_ROOT=$(OUT_ROOT) $(PYTHON3) -m npukit doctor

setup: $(VENV)/ready ## make .venv, as the first use of anything does

test: $(VENV)/ready lint ## the tests: no engine, no network
	$(PYTHON) -m pytest -q -c common/pyproject.toml --rootdir . common models

# Each model's bench runs are made in folders of their own and timed again by its bench.py, all in one run.
bench := $(OUT_ROOT)/bench
bench: $(VENV)/ready ## how much faster than the original's recipe, full size, on this CPU; many minutes
	@$(MAKE) -C models/bert_base_sst2 PROFILE=random BS=8 SEQ_LENS=128 OUT_ROOT=$(bench)/fixed infer
	@$(MAKE) -C models/bert_base_sst2 PROFILE=random BS=16 SEQ_LENS=auto GEARS=100 OUT_ROOT=$(bench)/gears infer
	PATH=$(VENV)/bin:$(root)/common/standin/bin:$$PATH PYTHONPATH=$(root)/common/standin:$$PYTHONPATH \
		$(PYTHON) models/bert_base_sst2/bench.py --fixed $(bench)/fixed/cpu/random/bert_base_sst2/bs8 \
		--gears $(bench)/gears/cpu/random/bert_base_sst2/bs16

lint: $(VENV)/ready
	$(PYTHON) -m ruff check -q --config common/pyproject.toml common models docker .ci

linters := $(root)/.lint
lint-images: $(linters)/ready ## the shell scripts and the Dockerfile, by shellcheck and hadolint
	$(linters)/bin/shellcheck docker/*.sh .ci/run .ci/with-engine models/*/*.sh
	$(linters)/bin/shellcheck --shell=bash common/standin/set_env.sh
	$(linters)/bin/hadolint docker/Dockerfile
$(linters)/ready: .ci/linters.txt
	$(PYTHON3) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/linters.txt
	touch $@

# --- Help ---------------------------------------------------------------------

.PHONY: help
help: ## this text
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@printf '\nmodels: %s\nstages: %s\n\n' '$(MODELS)' '$(STAGES)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile docker/engine.mk | column -t -s '|'
	@printf '  %s\n' 'why        which prerequisite makes each stage stale'
