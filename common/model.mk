# model.mk - the stages that every model shares.
#
# A model is named after its directory. Its Makefile sets these, then includes this file:
#
#   SUMMARY             one line for `make help`
#   PROFILES            the profiles it has, of: tiny random trained released
#   BATCHES             the batch sizes of the original's README
#   CORPUS_<profile>    the text, below $(DATA)
#   CHECKPOINT_<profile>  the weights: a path, or the word random
#   ONNX                the exported graph's file name
#   PREPROCESS PTH2ONNX POSTPROCESS [TRAIN]   the scripts' flags, as the original spells them
#   LOOP                repetitions of the pure inference
#   [MODIFY_ONNX] [ATC] [INFER] [PERF]   further flags or arguments of these stages
#   [ATTENTION]         config.json of its network, where that is a BERT: on a chip, or its twin, SEQ_LENS=auto then chooses among
#                       multiples of 32, at which ATC fuses attention (npukit.fusions), and `show` says what it fuses
#   [a target bench]    the runs that a bench.py compares, below $(bench), and its call
#   [STAGES_FURTHER]    stages that only this model has; it has their rules behind the include
#   [POSTPROCESS_READS] what postprocess reads of them, with % for the batch size
#   [MEMORY_GIB_<kind>] what a cluster's prepare, compile, infer or report job needs at full size where it is more than
#                       docs/site.toml gives: a number, half as much again as the largest memory_gib of its stages' record.json
#
# In the flags: $(CORPUS) and $(CHECKPOINT) of the profile, $(INPUTS) and $(EXPORT), the folders of the first two
# stages, $(N), the batch size at hand, $(RUN), its folder. Relative paths are the stage's own, fresh folder.
#
# Every stage is one folder, moved into place when its command has succeeded, and one file in it that make looks at:
#
#   preprocess   inputs/manifest.json               samples, shapes, dtypes, corpus
#   pth2onnx     pth2onnx/$(ONNX)                   the exported graph, proved against PyTorch
#   modify_onnx  bs<N>/modify_onnx/model.onnx       the edited graph, where there is a modify_onnx.py
#   atc          bs<N>/atc/model.om                 the offline model
#   infer        bs<N>/infer/outputs_summary.json   outputs and times on the corpus
#   perf         bs<N>/perf/log.txt                 pure inference, as the original measures
#   postprocess  bs<N>/postprocess/report.json      what came out, judged

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

$(if $(word 2,$(CURDIR)),$(error the checkout lies in '$(CURDIR)': make cannot work in a path with blanks))
model := $(notdir $(CURDIR))
root := $(patsubst %/common/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
STAGES := preprocess pth2onnx modify_onnx atc infer perf postprocess $(STAGES_FURTHER)

# --- What the caller may set --------------------------------------------------

PROFILE ?= tiny
SOC ?= cpu
STANDIN ?=
BS ?= 1
BESIDE ?=
DEVICE ?= 0
ON_BAD_INPUT ?= stop
DATA ?= $(root)/data
OUT_ROOT ?= $(root)/out
ATC_FLAGS ?=
ATC ?=
INFER ?=
PERF ?=
MODIFY_ONNX ?=
ATTENTION ?=
POSTPROCESS_READS ?=
V ?=
JOB ?=

include $(root)/common/python.mk

# --- Is the request possible? Answered before anything runs -------------------

comma := ,
empty :=
space := $(empty) $(empty)
one_word = $(if $(word 2,$($1)),$(error $1='$($1)': npukit takes no blanks here))
whole_path = $(if $(filter-out /% random,$($1)),$(error $1='$($1)': give the whole path, from /))
$(foreach v,DATA OUT_ROOT VENV PROFILE SOC STANDIN,$(call one_word,$v))
$(foreach v,DATA OUT_ROOT VENV,$(call whole_path,$v))
$(call number,DEVICE)
$(foreach v,SUMMARY PROFILES BATCHES ONNX LOOP PREPROCESS PTH2ONNX POSTPROCESS,$(if $(value $v),,$(error \
	$(CURDIR)/Makefile does not set $v; common/model.mk says what it means)))
$(if $(filter $(PROFILE),$(PROFILES)),,$(error $(model) has no profile '$(PROFILE)'; it has: $(PROFILES)))
$(if $(filter all,$(BS)),$(eval override BS := $(BATCHES)))
$(foreach n,$(or $(filter-out $(BATCHES),$(BS)),$(if $(strip $(BS)),,'')),$(error \
	$(model) has no batch size $n; it has: $(BATCHES), or BS=all))
$(if $(filter stop skip,$(ON_BAD_INPUT)),,$(error ON_BAD_INPUT='$(ON_BAD_INPUT)'; it is stop or skip))

$(if $(filter auto,$(SOC)),$(eval override SOC := $(chip)))
$(if $(filter cpu Ascend%,$(SOC)),,$(error SOC='$(SOC)'; it is cpu, auto or a chip's name such as Ascend310P3))
$(if $(filter-out 1,$(STANDIN)),$(error STANDIN='$(STANDIN)'; it is 1, or is not set))

# The stand-in answers for every chip it is asked to, and for the CPU always; the real tools are never mixed with it.
standin := $(if $(filter cpu,$(SOC)),1,$(STANDIN))
real_tools = $(shell command -v atc)
$(if $(standin),,$(if $(filter $(STAGES) all reports why,$(MAKECMDGOALS)),$(if $(real_tools),,$(error \
	SOC=$(SOC) needs CANN: there is no atc on PATH. Run in the cann image, or with STANDIN=1 for the twin on this CPU))))

# --- Names --------------------------------------------------------------------

OUT := $(OUT_ROOT)/$(SOC)$(if $(STANDIN),$(if $(filter cpu,$(SOC)),,-standin))/$(PROFILE)/$(model)
INPUTS := $(OUT)/inputs
EXPORT := $(OUT)/pth2onnx
RUN = $(OUT)/bs$(N)
CORPUS ?= $(DATA)/$(CORPUS_$(PROFILE))
CHECKPOINT ?= $(CHECKPOINT_$(PROFILE))
# What lengths cost on this chip, if it was measured there (`make facts`); SEQ_LENS=auto weighs them by it.
GEAR_COST := $(or $(GEAR_COST),$(wildcard $(CURDIR)/costs/$(SOC).json))
$(foreach v,CORPUS CHECKPOINT VOCAB,$(call whole_path,$v))

missing = $(foreach f,$1,$(if $(wildcard $f),,$(error $(f:$(root)/%=%) is missing; $2)))
ifneq (,$(filter $(STAGES) all reports train,$(MAKECMDGOALS)))
$(call missing,$(CORPUS),$(if $(filter command environment,$(origin CORPUS)),it is what CORPUS= names: a file or folder of your own,`make \
	MODEL=$(model) fetch` brings it and `make LOCAL=folder MODEL=$(model) fetch` takes it from a folder))
endif
ifneq (,$(filter $(STAGES) all reports,$(MAKECMDGOALS)))
$(call missing,$(filter-out random,$(CHECKPOINT)) $(VOCAB),it is what CHECKPOINT= or VOCAB= names; \
	`make PROFILE=$(PROFILE) MODEL=$(model) fetch` brings what is released)
endif

export PATH := $(VENV)/bin:$(if $(standin),$(root)/common/standin/bin:)$(PATH)
export PYTHONPATH := $(if $(standin),$(root)/common/standin:)$(PYTHONPATH)

# --- The commands, one a stage ------------------------------------------------

# A graph edit, where the original has one, is the model's own modify_onnx.py.
modify := $(wildcard modify_onnx.py)
graph = $(if $(modify),$(RUN)/modify_onnx/model.onnx,$(EXPORT)/$(ONNX))
# A model whose inference tool is another has its own infer.sh.
infer_sh := $(or $(wildcard $(CURDIR)/infer.sh),$(root)/common/infer.sh)

command_preprocess = $(PYTHON) $(CURDIR)/preprocess.py $(PREPROCESS) $(if $(ATTENTION),$(if $(filter cpu,$(SOC)),,--multiple_of 32))
command_pth2onnx = $(PYTHON) $(CURDIR)/pth2onnx.py $(PTH2ONNX)
command_modify_onnx = $(PYTHON) $(CURDIR)/modify_onnx.py $(MODIFY_ONNX)
command_atc = bash $(CURDIR)/atc.sh $(graph) model $(N) $(SOC) $(ATC) $(ATC_FLAGS)
command_infer = bash $(infer_sh) $(RUN)/atc/model.om $(INPUTS) outputs $(N) $(DEVICE) $(INFER)
command_perf = $(PYTHON) -m ais_bench --model $(RUN)/atc/model.om --loop $(LOOP) --device $(DEVICE) $(PERF)
command_postprocess = $(PYTHON) $(CURDIR)/postprocess.py $(POSTPROCESS) --run $(RUN) --loop $(LOOP) --report report.json

# What a stage is up to date with, besides files: its command, without the quotes that the shell takes away, and the
# versions of the tools. Places are left out: a container, where they are others, takes a stage as the host made it.
cann := $(firstword $(wildcard $(addsuffix /version.cfg,$(ASCEND_TOOLKIT_HOME) /usr/local/Ascend/ascend-toolkit/latest \
	/usr/local/Ascend/cann)))
versions := $(strip $(file <$(VENV)/ready) $(if $(standin),,$(if $(cann),$(file <$(cann)))))
places := $(VENV)/=venv/ $(OUT_ROOT)/=out/ $(DATA)/=data/ $(root)/=
placeless = $(subst $(root)/,,$(subst $(DATA)/,data/,$(subst $(OUT_ROOT)/,out/,$(subst $(VENV)/,venv/,$1))))
key = $(call placeless,$(strip $(subst ',,$(subst ",,$(command_$1))) | $(versions)))

# Timings are the result. On the stand-in the device is this CPU, so whatever is timed runs alone and everything else
# shares; on a chip only its own timings exclude each other. A container counts its chips from 0, whichever it was given. In a
# JOB of a cluster processors and chips are the job's own, and what must not be done twice is locked stage by stage, by a
# lock that other hosts see too.
locks := $(OUT_ROOT)/.locks
nodes := $(wildcard /dev/davinci[0-9] /dev/davinci[0-9][0-9])
chip_here := $(or $(if $(word 2,$(nodes)),,$(nodes:/dev/davinci%=%)),$(DEVICE))
share := $(if $(JOB),,$(if $(standin),$(lock) --shared $(locks)/cpu))
alone := $(if $(JOB),,$(lock) $(locks)/$(if $(standin),cpu,npu$(chip_here)))
# CANN's atc runs the python3 that it finds, which must be the one that CANN was made with.
on_chip := $(if $(standin),,--chip )
cann_python := $(if $(standin),,PATH='$(subst $(VENV)/bin:,,$(PATH))')
Q := $(if $(V),,@)
stage = $(PYTHON) -m npuops stage --into $1 --versions '$(versions)' --places '$(places)' $(if $(V),--show )$(if $(JOB),--shared )$3-- $(command_$2)

ifndef NPUKIT_LOCKED

# --- Outside: the environment, one make a model at a time ---------------------

# BESIDE=1, one batch size that only has to infer, lets others of its kind be at work beside it on other chips.
taken := another make is at work on $(OUT); let it finish, or stop it
one_make := $(lock) $(if $(BESIDE),--shared) --now '$(taken)' $(locks)/$(subst /,-,$(OUT:$(OUT_ROOT)/%=%))
one_make += $(lock) --now '$(taken)' $(locks)/$(subst /,-,$(OUT:$(OUT_ROOT)/%=%))-bs$(firstword $(BS))
goals := $(filter $(STAGES) all reports train clean,$(MAKECMDGOALS))
.PHONY: $(STAGES) all reports train clean locked
$(STAGES) all reports train clean: locked ;
locked: $(VENV)/ready
	@mkdir -p $(OUT) $(locks); $(if $(JOB),,$(one_make)) $(MAKE) NPUKIT_LOCKED=1 SOC=$(SOC) $(goals)

else

# --- Inside: the stages, in the order of the README ---------------------------

.PHONY: $(STAGES) all reports
all: reports ## every stage for every batch size in BS, then the table
	@$(PYTHON) -m npuops results $(OUT_ROOT) --judge $(BS:%=$(OUT)/bs%/postprocess/report.json)
reports: perf postprocess
preprocess: $(INPUTS)/manifest.json ## the corpus -> the model's inputs
pth2onnx: $(EXPORT)/$(ONNX) ## weights -> ONNX, proved against PyTorch
modify_onnx: $(if $(modify),$(BS:%=$(OUT)/bs%/modify_onnx/model.onnx)) ## ONNX -> edited ONNX, where the original edits it
atc: $(BS:%=$(OUT)/bs%/atc/model.om) ## ONNX -> offline model
infer: $(BS:%=$(OUT)/bs%/infer/outputs_summary.json) ## the corpus through the offline model, timed
perf: $(BS:%=$(OUT)/bs%/perf/log.txt) ## pure inference on an idle device, as the original measures
postprocess: $(BS:%=$(OUT)/bs%/postprocess/report.json) ## outputs -> report.json

# A script's prerequisites: itself, the model's own modules, and the library modules that it imports.
scripts := preprocess.py pth2onnx.py modify_onnx.py postprocess.py train.py bench.py export_trace_model.py run_torch_aie.py onnx_infer.py ais_infer.py
modules := $(addprefix $(CURDIR)/,$(filter-out $(scripts) test_%.py,$(wildcard *.py)))
script = $(CURDIR)/$1 $(modules) $(wildcard $(root)/common/npukit/*.py $(root)/common/npukit/*/*.py)
standin_files := $(if $(standin),$(shell find $(root)/common/standin/{bin,standin,aclruntime,ais_bench} -type f -not -name '*.pyc'))

# With `clean` among the goals everything is made after it, with -j too.
clean_first := $(filter clean,$(MAKECMDGOALS))

$(INPUTS)/manifest.json: $(call script,preprocess.py,samples) $(CORPUS) $(VOCAB) $(wildcard $(GEAR_COST)) $(clean_first)
	$(Q)$(share) $(call stage,$(@D),preprocess)

$(EXPORT)/$(ONNX): $(call script,pth2onnx.py,samples fidelity ledger metrics random_weights) $(filter-out random,$(CHECKPOINT)) \
		$(INPUTS)/manifest.json
	$(Q)$(share) $(call stage,$(@D),pth2onnx)

# The batch size being built: the % of the rule at hand.
$(OUT)/bs%: N = $*

$(OUT)/bs%/modify_onnx/model.onnx: $(call script,modify_onnx.py,fidelity ledger) $(EXPORT)/$(ONNX) $(INPUTS)/manifest.json
	$(Q)$(share) $(call stage,$(@D),modify_onnx)

$(OUT)/bs%/atc/model.om: $(CURDIR)/atc.sh $(if $(modify),$(OUT)/bs%/modify_onnx/model.onnx,$(EXPORT)/$(ONNX)) $(standin_files)
	$(Q)$(cann_python) $(share) $(call stage,$(@D),atc)

$(OUT)/bs%/infer/outputs_summary.json: $(infer_sh) $(OUT)/bs%/atc/model.om $(INPUTS)/manifest.json $(standin_files)
	$(Q)$(alone) $(call stage,$(@D),infer,$(on_chip))

$(OUT)/bs%/perf/log.txt: $(OUT)/bs%/atc/model.om $(standin_files)
	$(Q)$(alone) $(call stage,$(@D),perf,$(on_chip)--idle $(DEVICE) )

$(OUT)/bs%/postprocess/report.json: $(call script,postprocess.py,samples fidelity ledger metrics performance provenance report) \
		$(root)/common/npukit/judge/report.schema.json $(wildcard $(CURDIR)/original.json) \
		$(OUT)/bs%/infer/outputs_summary.json $(OUT)/bs%/perf/log.txt $(EXPORT)/$(ONNX) $(INPUTS)/manifest.json $(POSTPROCESS_READS)
	$(Q)$(share) $(call stage,$(@D),postprocess)

# A stage whose command, flags or tool versions differ from those it last ran with is stale. (Make 4.3 strips the last
# newline of a file that it reads only sometimes, hence the strip.)
differs = $(if $(and $(findstring $1,$2),$(findstring $2,$1)),,yes)
stale_stage = $(if $(call differs,$(strip $(file <$(dir $2)command)),$(call key,$1)),$2)
.PHONY: changed
changed: ;
$(call stale_stage,preprocess,$(INPUTS)/manifest.json) $(call stale_stage,pth2onnx,$(EXPORT)/$(ONNX)) \
$(foreach N,$(BS),$(call stale_stage,modify_onnx,$(RUN)/modify_onnx/model.onnx) \
	$(call stale_stage,atc,$(RUN)/atc/model.om) $(call stale_stage,infer,$(RUN)/infer/outputs_summary.json) \
	$(call stale_stage,perf,$(RUN)/perf/log.txt) $(call stale_stage,postprocess,$(RUN)/postprocess/report.json)): changed

.PHONY: train
train: $(CORPUS) $(clean_first) ## train the weights that are shipped, where the original releases none
	$(if $(value TRAIN),,$(error $(model) is not trained here))
	$(PYTHON) $(CURDIR)/train.py $(TRAIN) --output $(OUT)/train

.PHONY: clean
clean: ## remove what these stages made
	rm -rf $(OUT)

endif

# Where a bench.py is called: its runs are made in folders of their own, then timed again, all in one run.
bench := $(OUT_ROOT)/bench

# --- Help ---------------------------------------------------------------------

.PHONY: help show fusions why
help: ## this text
	@echo '$(model): $(SUMMARY)'
	@echo 'make [PROFILE=$(subst $(space),|,$(PROFILES))] [BS="$(BATCHES)"|all] [SOC=cpu|auto|Ascend310P3] [STANDIN=1] [DEVICE=0] [V=1] stage ...'
	@$(call targets,$(root)/common/model.mk)

show: ## what this model declares
	@$(foreach v,SUMMARY PROFILES BATCHES ONNX LOOP OUT CORPUS CHECKPOINT,printf '%-12s %s\n' $v '$($v)';)
	@$(fusions)

# The lengths as asked for, or as auto has chosen them; else, on a chip, what it will choose among.
lengths = $(or $(filter-out auto,$(SEQ_LENS)),$(file <$(INPUTS)/seq_lens.txt))
fusions = $(if $(and $(wildcard $(ATTENTION)),$(or $(lengths),$(filter-out cpu,$(SOC)))),$(PYTHON3) -m npuops fusions $(ATTENTION) \
	--model $(model) --batch_sizes $(BS) --lengths '$(subst ','\'',$(lengths))')
fusions:
	@$(fusions)

why: ## which prerequisite makes each stage stale
	@plan=$$(LC_ALL=C $(MAKE) -n --debug=basic NPUKIT_LOCKED=1 SOC=$(SOC) reports); \
	PYTHONPATH=$(root)/common $(PYTHON3) -m npuops why $(OUT) <<<"$$plan"
