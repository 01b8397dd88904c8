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
#   LOCAL MIRROR ACCEPT BUNDLE DEST   for fetch, bundle and publish; data/README.md

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
ACCEPT ?=

# The one goal whose MODEL is not there yet.
ifneq (new,$(MAKECMDGOALS))
$(if $(filter auto,$(SOC)),$(eval override SOC := $(chip)))
$(foreach m,$(or $(filter-out $(MODELS),$(MODEL)),$(if $(strip $(MODEL)),,'')),$(error there is no model $m; there are: $(MODELS)))

# A batch size or profile that one of the models does not have is answered before the others have run.
batches_of = $(shell sed -n 's/^BATCHES *[:?]*= *//p' models/$1/Makefile)
$(foreach m,$(MODEL),$(foreach has,$(subst $(space),/,$(call batches_of,$m)),$(foreach n,$(filter-out all $(subst /, ,$(has)),$(BS)),\
	$(error $m has no batch size $n; it has: $(subst /, ,$(has)), or BS=all))))

profiles_of = $(shell sed -n 's/^PROFILES *[:?]*= *//p' models/$1/Makefile)
those_with = $(strip $(foreach m,$(MODELS),$(if $(filter $(PROFILE),$(call profiles_of,$m)),$m)))
$(foreach m,$(MODEL),$(foreach has,$(subst $(space),/,$(call profiles_of,$m)),$(if $(filter-out $(subst /, ,$(has)),$(or $(PROFILE),'')),\
	$(error $m has no profile '$(PROFILE)'; it has: $(subst /, ,$(has))$(if $(those_with),; those that have $(PROFILE): MODEL="$(those_with)")))))

endif
$(call number,DEVICE)
$(places_checked)

# What a job in a container or on a cluster is told beside MODEL, BS, PROFILE, SOC and STANDIN: what models can be told, but no places.
KNOBS := MODEL LOCAL MIRROR ACCEPT BUNDLE DEST CLUSTER SITE MAX_NPUS SUBMISSION MINUTES CASES FROM STRICT
knobs_of_models := $(shell sed -nE 's/^KNOBS \+?= //p' common/*.mk models/*/Makefile)
handed_on := $(sort $(filter-out PROFILE SOC STANDIN BS DEVICE DATA OUT_ROOT VENV PYTHON3 BESIDE ORACLE,$(knobs_of_models)))

batches = $(if $(filter all,$(BS)),*,$(BS))
folder = $(chip_folder)/$(PROFILE)

# Sets `engine` where the job runs in a container; the rules between here and `endif` are those for this machine.
include docker/engine.mk
ifndef engine

# --- One job a model ----------------------------------------------------------

# The goals are handed on as they were given, but for all: the table comes once, at the end.
goals := $(patsubst all,reports,$(filter $(STAGES) all train clean why show,$(MAKECMDGOALS)))
jobs := $(MODEL:%=job-%)

.PHONY: $(STAGES) train all clean why show ledger results $(jobs)
$(STAGES): $(jobs)
train: $(jobs) ## train the weights that are shipped
why: $(jobs) ## which prerequisite makes each stage stale
show: $(jobs) ## what a model declares, and where its files lie
clean: $(jobs) ## remove what the models' stages made
in_make = $(filter-out why show,$(goals))
$(jobs): job-%: $(if $(in_make),$(VENV)/ready)
	@$(if $(in_make),mkdir -p $(call model_folder,$*) $(locks); $(call one_make,$*)) $(MAKE) -C models/$* NPUKIT_LOCKED=1 $(found) $(goals)

all: $(jobs) ## every stage of every model, then the table; fails if a gate does
	@$(PYTHON) -m npuops results $(OUT_ROOT) --judge $(foreach m,$(MODEL),$(foreach n,$(batches),$(folder)/$m/bs$n/postprocess/report.json))

# --- Results ------------------------------------------------------------------

ledger: $(VENV)/ready ## each form of the network, PyTorch to offline model: metric and closeness
	@$(PYTHON) -m npuops ledger $(foreach m,$(MODEL),$(foreach n,$(batches),$(wildcard $(folder)/$m/bs$n/postprocess/report.json)))

results: $(VENV)/ready ## the table of every report there is
	@$(PYTHON) -m npuops results $(OUT_ROOT)

endif

# --- A model of one's own ------------------------------------------------------

FROM ?=
.PHONY: new
new: $(VENV)/ready ## a new model, MODEL=name, FROM= one that is there; nothing outside models/name is touched
	@$(PYTHON) -m npuops new models '$(MODEL)' '$(FROM)'

# --- Data, and results away ---------------------------------------------------

.PHONY: fetch fetch-list bundle unbundle publish verify-published
# An address can hold a secret: the two are handed on in the environment and stand in no command line.
export MIRROR DEST
manifests = $(or $(wildcard $(MODEL:%=models/%/assets.toml)),$(error no assets.toml for MODEL='$(MODEL)'))
BUNDLE ?= $(OUT_ROOT)/npukit-$(subst $(space),-,$(strip $(MODEL)))-$(PROFILE).tar
assets = $(PYTHON) -m npuops $@ --data '$(DATA)' --profile $(PROFILE)
fetch: $(VENV)/ready ## bring the released corpora to data/, by digest; with PROFILE=released the weights too
	@$(assets) $(if $(LOCAL),--local '$(LOCAL)') --accept '$(ACCEPT)' $(manifests)

fetch-list: $(VENV)/ready ## what of them is there, what is missing, sizes, licences
	@$(assets) $(manifests)

bundle: $(VENV)/ready ## what is there in one verified tarball, BUNDLE=, to carry over
	@$(assets) --bundle '$(BUNDLE)' $(manifests)

unbundle: $(VENV)/ready ## what a tarball holds to its place in data/
	@$(assets) --bundle '$(BUNDLE)' $(manifests)

publish: $(VENV)/ready ## a run's report, predictions, logs, .om files to DEST=s3://bucket/prefix, or a folder
	@$(PYTHON) -m npuops publish $(foreach m,$(MODEL),$(foreach n,$(batches),$(wildcard $(folder)/$m/bs$n)))

verify-published: $(VENV)/ready ## read what is at DEST= back and verify it
	@$(PYTHON) -m npuops verify-published

# --- Cluster -------------------------------------------------------------------

# The jobs are this front door again, on other machines; docs/ has a page a scheduler. What is asked for goes through the
# environment and is quoted there.
CLUSTER ?=
SITE ?= $(wildcard $(root)/site.toml)
MAX_NPUS ?=
SUBMISSION ?=
cluster := plan submit jobs collect cancel
ROOT := $(root)
HANDED_ON := $(handed_on)
$(foreach v,ROOT CLUSTER SITE MAX_NPUS SUBMISSION MODEL BS PROFILE SOC STANDIN DATA OUT_ROOT VENV HANDED_ON \
	$(foreach v,$(handed_on),$(if $(value $v),$v)),$(eval $(cluster) doctor: export $v := $$($v)))
.PHONY: $(cluster)
plan: ## the jobs that `submit` would submit, their texts, and what they will cost; CLUSTER=slurm, argo or volcano
submit: ## MODEL x BS as jobs of a shared cluster; MAX_NPUS= at a time, SITE= describes the site
jobs: ## how the newest submission is, or SUBMISSION=
collect: ## its reports and their table; fails if one is missing or fails
cancel: ## end its jobs and no others
$(cluster): $(VENV)/ready
	@$(PYTHON) -m npuops cluster $@
	@$(if $(filter plan,$@),$(foreach m,$(MODEL),$(MAKE) -C models/$m $(found) fusions;))

# --- The environment and the tests, on this machine ---------------------------

.PHONY: setup doctor test test-all bench lint lint-images
doctor: ## what this machine, this container, or with CLUSTER= the site has for a job, and how to mend what it lacks
	@OUT_ROOT=$(OUT_ROOT) $(PYTHON3) -m npuops $(if $(CLUSTER),cluster check,doctor)

setup: $(VENV)/ready ## make .venv, as the first use of anything does

# An image has pytest for conformance and nothing else of the tests' packages.
parallel := $(if $(NPUKIT_IMAGE),,-n auto --maxprocesses 8)
test: ## the tests in minutes: no engine, no network, no corpus; it says what it leaves out
test-all: ## all of them, with what takes long: NPUKIT_DATA=folder has the released corpora
test-all: export NPUKIT_TEST_ALL = 1
test-all: conformance
test test-all: $(VENV)/ready lint
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q $(parallel) --dist loadfile -c common/pyproject.toml --rootdir . common models

benches := $(patsubst models/%/bench.mk,bench-%,$(wildcard $(MODEL:%=models/%/bench.mk)))
bench: $(benches) ## how much faster than the original's recipe, full size, on this CPU; many minutes a model
bench-%: $(VENV)/ready
	@$(MAKE) -C models/$* bench

lint: $(VENV)/ready
	$(PYTHON) -m ruff check -q --config common/pyproject.toml common models docker docker/run .ci

linters := $(root)/.lint
lint-images: $(linters)/ready ## the shell scripts and the Dockerfile, by shellcheck and hadolint
	$(linters)/bin/shellcheck docker/*.sh common/*.sh .ci/run .ci/stranger .ci/minimal .ci/with-engine models/*/*.sh
	$(linters)/bin/shellcheck --shell=bash common/standin/set_env.sh common/npuops/stage/audit/*.sh
	$(linters)/bin/hadolint docker/Dockerfile
$(linters)/ready: .ci/linters.txt
	$(PYTHON3) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r .ci/linters.txt
	touch $@

# --- First light: the day the chip is there -----------------------------------

#   MINUTES  of NPU time that first-light may take, default 30
#   CASES    device, or "not device": those cases of conformance alone
#   FROM     for facts: the tarball that first-light wrote
MINUTES ?= 30
CASES ?=

# The tools of this machine; where no chip is asked for, and with STANDIN=1, the stand-in. It may not differ from what is
# known, nor from what a chip has shown; on a chip the differences are the result.
own_tools := $(if $(filter cpu,$(SOC))$(STANDIN),1)
STRICT ?= $(own_tools)
light = $(chip_folder)/first-light
seen = $(light)/$(if $(CASES),$(if $(filter not,$(CASES)),tools,device),all).jsonl
tools = $(if $(own_tools),,ATC_PATH='$(subst $(VENV)/bin:,,$(PATH))' $(if $(filter-out 0,$(DEVICE)),ASCEND_RT_VISIBLE_DEVICES=$(DEVICE))) \
	PATH=$(VENV)/bin:$(if $(own_tools),$(root)/common/standin/bin:)$$PATH PYTHONPATH=$(if $(own_tools),$(root)/common/standin:)$$PYTHONPATH

.PHONY: conformance first-light facts
conformance: $(VENV)/ready ## what atc, ais_bench, msame and npu-smi do here, beside what is known of them
	@mkdir -p $(light) $(OUT_ROOT)/.locks
	$(if $(own_tools)$(filter not,$(CASES)),,@$(PYTHON) -m npuops idle $(or $(DEVICE),0))
	@$(tools) $(lock) $(if $(own_tools),--shared $(OUT_ROOT)/.locks/cpu,$(OUT_ROOT)/.locks/npu$(or $(DEVICE),0)) \
		$(PYTHON) -m pytest -q $(if $(own_tools),$(parallel)) -p no:cacheprovider -c common/pyproject.toml --rootdir . \
		common/standin/conformance --results $(seen) $(if $(CASES),-m '$(CASES)') \
		--soc $(if $(filter cpu,$(SOC)),Ascend310P3,$(SOC)) $(if $(own_tools),--recorded common/standin/facts) $(if $(STRICT),,|| [ $$? = 1 ])
	@$(PYTHON) -m npuops differences $(seen)

first-light: $(VENV)/ready ## a chip's first hour: doctor, conformance, every model, and a tarball to send home
	$(if $(filter cpu,$(SOC)),$(error first-light is about a chip: SOC=auto asks npu-smi for it; with STANDIN=1 the stand-in answers in its place))
	@$(PYTHON) -m npuops first-light --root $(root) --out $(OUT_ROOT) --soc $(SOC) $(if $(STANDIN),--standin) --models $(MODEL) \
		--batches $(if $(filter file,$(origin BS)),1 8,$(BS)) $(if $(filter file,$(origin PROFILE)),,--profile $(PROFILE)) \
		--device $(or $(DEVICE),0) --minutes $(MINUTES)

facts: $(VENV)/ready ## first-light's tarball FROM= -> recorded cases and costs of lengths in this tree
	$(if $(FROM),,$(error FROM= is the tarball that first-light wrote))
	@$(PYTHON) -m npuops facts $(FROM) --root $(root)

# --- Help ---------------------------------------------------------------------

.PHONY: help
help: ## this text
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@printf '\nmodels: %s\nstages: %s\n\n' '$(MODELS)' '$(STAGES)'
	@$(call targets,Makefile docker/engine.mk)
