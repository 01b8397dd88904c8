# model.mk - the stages that every model shares.
#
# A model is named after its directory. Its Makefile states facts and has no recipes; then it includes this file, or lengths.mk,
# or bert.mk, which include this one. The facts:
#
#   SUMMARY             one line for `make help`
#   PROFILES            the profiles it has, of: tiny random trained released
#   BATCHES             the batch sizes of the original's README
#   CORPUS_<profile>    the text, below $(DATA); that of released, where a profile has none of its own
#   CHECKPOINT_<profile>  the weights: a path, or the word random; those of released, where a profile has none of its own
#   ONNX                the exported graph's file name
#   PREPROCESS PTH2ONNX POSTPROCESS [TRAIN]   the scripts' flags, as the original spells them
#   LOOP                repetitions of the pure inference
#   [MODIFY_ONNX] [ATC] [INFER] [PERF]   further flags or arguments of these stages
#   [KNOBS]             variables of its own that the caller may set; each has a comment, `# NAME  meaning`, for `make show`
#   [CHOICES_<knob>]    the words that a knob can be
#   [FILES]             those knobs that hold the path of a file or folder, which must be there
#   [ONCE] [EACH]       stages that only this model has, between export and report: once for all batch sizes, or once for each
#                       and then timed, alone. Such a stage is <stage>.py with the flags FLAGS_<stage>
#   [bench.mk]          a second page of facts, for `make bench`:
#   [BENCH]             settings in quotes, 'PROFILE=random BS=8' 'PROFILE=random BS="16 32" SEQ_LENS=auto', whose runs are made in
#                       $(bench)/1, $(bench)/2 ... The first two are compared, with the flags of
#   [BENCH_COMPARE]     (npukit compare --help); [BENCH_PEER] is a call of Python that times another's program beside them,
#   [BENCH_CORPUS]      one that comes first and writes a corpus, [BENCH_NEEDS] what is to be made before
#   [MEMORY_GIB_<kind>] what a cluster's prepare, compile, infer or report job needs at full size where it is more than
#                       docs/site.toml gives: a number, half as much again as the largest memory_gib of its stages' record.json
#
# In the flags: $(CORPUS) and $(CHECKPOINT) of the profile, $(KIND) of the weights, $(INPUTS) and $(EXPORT), the folders of the
# first two stages, $(N), the batch size at hand, $(RUN), its folder. Relative paths are the stage's own, fresh folder.
#
# What the caller may set:
#
#   PROFILE       which text and which weights
#   SOC           cpu, a chip's name such as Ascend310P3, or auto: what npu-smi tells
#   STANDIN       1: the stand-in in the chip's place
#   BS            batch sizes, or all
#   DEVICE        the chip's number
#   CORPUS        text of your own: a whole path
#   CHECKPOINT    weights of your own: a whole path
#   LOOP          repetitions of the pure inference
#   ATC_FLAGS     further flags for atc
#   ON_BAD_INPUT  stop at a sample that cannot be read, or skip it
#   DATA          where corpora and weights lie
#   OUT_ROOT      where results go
#   V             1: show each command and all that it prints
#   JOB           1: a job of a cluster, whose processors and chip are its own
#   BESIDE        1: one batch size that only infers, beside others on other chips
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
STAGES := preprocess pth2onnx modify_onnx atc infer perf postprocess $(ONCE) $(EACH)
KNOBS += PROFILE SOC STANDIN BS DEVICE CORPUS CHECKPOINT LOOP ATC_FLAGS ON_BAD_INPUT DATA OUT_ROOT V JOB BESIDE

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
V ?=
JOB ?=

include $(root)/common/python.mk

# --- Is the request possible? Answered before anything runs -------------------

$(places_checked)
$(call number,DEVICE)
$(foreach v,SUMMARY PROFILES BATCHES ONNX LOOP PREPROCESS PTH2ONNX POSTPROCESS,$(if $(value $v),,$(error \
	$(CURDIR)/Makefile does not set $v; common/model.mk says what it means)))
$(if $(filter $(PROFILE),$(PROFILES)),,$(error $(model) has no profile '$(PROFILE)'; it has: $(PROFILES)))
$(if $(filter all,$(BS)),$(eval override BS := $(BATCHES)))
$(foreach n,$(or $(filter-out $(BATCHES),$(BS)),$(if $(strip $(BS)),,'')),$(error \
	$(model) has no batch size $n; it has: $(BATCHES), or BS=all))
CHOICES_ON_BAD_INPUT = stop skip
$(foreach v,$(KNOBS),$(if $(CHOICES_$v),$(if $(filter $(CHOICES_$v),$(or $($v),'')),,$(error \
	$v='$($v)'; it is $(subst $(space), or ,$(CHOICES_$v))))))

$(if $(filter auto,$(SOC)),$(eval override SOC := $(chip)))
$(if $(filter cpu Ascend%,$(SOC)),,$(error SOC='$(SOC)'; it is cpu, auto or a chip's name such as Ascend310P3))
$(if $(filter-out 1,$(STANDIN)),$(error STANDIN='$(STANDIN)'; it is 1, or is not set))

# The stand-in answers for every chip it is asked to, and for the CPU always; the real tools are never mixed with it.
standin := $(if $(filter cpu,$(SOC)),1,$(STANDIN))
real_tools = $(shell command -v atc)
$(if $(standin),,$(if $(filter $(STAGES) all reports why,$(MAKECMDGOALS)),$(if $(real_tools),,$(error \
	SOC=$(SOC) needs CANN: there is no atc on PATH. Run in the cann image, or with STANDIN=1 for the twin on this CPU))))

# --- Names --------------------------------------------------------------------

OUT := $(chip_folder)/$(PROFILE)/$(model)
INPUTS := $(OUT)/inputs
EXPORT := $(OUT)/pth2onnx
RUN = $(OUT)/bs$(N)
CORPUS ?= $(DATA)/$(or $(CORPUS_$(PROFILE)),$(CORPUS_released))
CHECKPOINT ?= $(or $(CHECKPOINT_$(PROFILE)),$(CHECKPOINT_released))
KIND = $(if $(filter random,$(CHECKPOINT)),random,$(if $(filter command environment,$(origin CHECKPOINT)),own,$(or \
	$(filter trained released,$(PROFILE)),random)))
$(foreach v,CORPUS CHECKPOINT $(FILES),$(call whole_path,$v))

missing = $(if $(wildcard $($1)),,$(error $($1:$(root)/%=%) is missing; $2))
named = it is what $1= names: a file or folder of your own
fetched = `make$(if $(filter tiny,$(PROFILE)),, PROFILE=$(PROFILE)) MODEL=$(model) fetch` brings what is released
given = $(filter command environment,$(origin $1))
ifneq (,$(filter $(STAGES) all reports train,$(MAKECMDGOALS)))
$(call missing,CORPUS,$(if $(call given,CORPUS),$(call named,CORPUS),`make MODEL=$(model) fetch` brings it and \
	`make LOCAL=folder MODEL=$(model) fetch` takes it from a folder))
endif
ifneq (,$(filter $(STAGES) all reports,$(MAKECMDGOALS)))
$(foreach v,$(if $(filter random,$(CHECKPOINT)),,CHECKPOINT) $(FILES),$(call missing,$v,$(if $(call given,$v),$(call named,$v),$(fetched))))
endif

export PATH := $(VENV)/bin:$(if $(standin),$(root)/common/standin/bin:)$(PATH)
export PYTHONPATH := $(if $(standin),$(root)/common/standin:)$(PYTHONPATH)

# --- The commands, one a stage ------------------------------------------------

# A graph edit, where the original has one, is the model's own modify_onnx.py.
modify := $(wildcard modify_onnx.py)
graph = $(if $(modify),$(RUN)/modify_onnx/model.onnx,$(EXPORT)/$(ONNX))
# A model whose inference tool is another has its own infer.sh.
infer_sh := $(or $(wildcard $(CURDIR)/infer.sh),$(root)/common/infer.sh)

command_preprocess = $(PYTHON) $(CURDIR)/preprocess.py $(PREPROCESS)
command_pth2onnx = $(PYTHON) $(CURDIR)/pth2onnx.py $(PTH2ONNX)
command_modify_onnx = $(PYTHON) $(CURDIR)/modify_onnx.py $(MODIFY_ONNX)
command_atc = bash $(CURDIR)/atc.sh $(graph) model $(N) $(SOC) $(ATC) $(ATC_FLAGS)
command_infer = bash $(infer_sh) $(RUN)/atc/model.om $(INPUTS) outputs $(N) $(DEVICE) $(INFER)
command_perf = $(PYTHON) -m ais_bench --model $(RUN)/atc/model.om --loop $(LOOP) --device $(DEVICE) $(PERF)
command_postprocess = $(PYTHON) $(CURDIR)/postprocess.py $(POSTPROCESS) --run $(RUN) --loop $(LOOP) --report report.json
command = $(or $(command_$1),$(PYTHON) $(CURDIR)/$1.py $(FLAGS_$1))

# What a stage is up to date with, besides files: its command, without the quotes that the shell takes away, and the
# versions of the tools. Places are left out: a container, where they are others, takes a stage as the host made it.
cann := $(firstword $(wildcard $(addsuffix /version.cfg,$(ASCEND_TOOLKIT_HOME) /usr/local/Ascend/ascend-toolkit/latest \
	/usr/local/Ascend/cann)))
versions := $(strip $(file <$(VENV)/ready) $(if $(standin),,$(if $(cann),$(file <$(cann)))))
places := $(VENV)/=venv/ $(OUT_ROOT)/=out/ $(DATA)/=data/ $(root)/=
placeless = $(subst $(root)/,,$(subst $(DATA)/,data/,$(subst $(OUT_ROOT)/,out/,$(subst $(VENV)/,venv/,$1))))
key = $(call placeless,$(strip $(subst ',,$(subst ",,$(call command,$1))) | $(versions)))

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
# The run that a stage belongs to, for its record.json; a stage that all batch sizes share has none.
identity = model=$(model) soc=$(SOC) standin=$(standin) profile=$(PROFILE) batch_size=$(if $(filter $(RUN)/%,$(@D)),$(N))
stage = $(PYTHON) -m npuops stage --into $(@D) --target $(@F) --run '$(identity)' --versions '$(versions)' --places '$(places)' \
	$(if $(V),--show )$(if $(JOB),--shared )$2-- $(call command,$1)

ifndef NPUKIT_LOCKED

# --- One make a model at a time: this file again, under a lock. The front door has taken it already. ---

goals := $(filter $(STAGES) all reports train clean,$(MAKECMDGOALS))
.PHONY: $(STAGES) all reports train clean locked
$(STAGES) all reports train clean: locked ;
locked: $(VENV)/ready
	@mkdir -p $(OUT) $(locks); $(call one_make,$(model)) $(MAKE) NPUKIT_LOCKED=1 $(found) $(goals)

else

# --- The stages, in the order of the README -----------------------------------

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

# A stage has three kinds of prerequisites: the stages before it, which stand here; the files that its command read when it last
# ran, modules among them, which it wrote into its folder itself; and its command, flags and tool versions, further below.
include $(wildcard $(OUT)/*/reads.mk $(BS:%=$(OUT)/bs%/*/reads.mk))

# With `clean` among the goals everything is made after it, with -j too.
clean_first := $(filter clean,$(MAKECMDGOALS))

$(INPUTS)/manifest.json: $(clean_first)
	$(Q)$(share) $(call stage,preprocess)

$(EXPORT)/$(ONNX): $(INPUTS)/manifest.json
	$(Q)$(share) $(call stage,pth2onnx)

# The batch size being built: what the % of the rule at hand begins with.
$(OUT)/bs%: N = $(firstword $(subst /, ,$*))

$(OUT)/bs%/modify_onnx/model.onnx: $(EXPORT)/$(ONNX) $(INPUTS)/manifest.json
	$(Q)$(share) $(call stage,modify_onnx)

$(OUT)/bs%/atc/model.om: $(if $(modify),$(OUT)/bs%/modify_onnx/model.onnx,$(EXPORT)/$(ONNX))
	$(Q)$(cann_python) $(share) $(call stage,atc)

$(OUT)/bs%/infer/outputs_summary.json: $(OUT)/bs%/atc/model.om $(INPUTS)/manifest.json
	$(Q)$(alone) $(call stage,infer,$(on_chip))

$(OUT)/bs%/perf/log.txt: $(OUT)/bs%/atc/model.om
	$(Q)$(alone) $(call stage,perf,$(on_chip)--idle $(DEVICE) )

once := $(ONCE:%=$(OUT)/%/record.json)
$(OUT)/bs%/postprocess/report.json: $(OUT)/bs%/infer/outputs_summary.json $(OUT)/bs%/perf/log.txt $(EXPORT)/$(ONNX) \
		$(INPUTS)/manifest.json $(once) $(foreach s,$(EACH),$(OUT)/bs%/$s/record.json)
	$(Q)$(share) $(call stage,postprocess)

# --- Stages that only this model has ------------------------------------------

each := $(foreach s,$(EACH),$(BS:%=$(OUT)/bs%/$s/record.json))
$(ONCE): $(once)
$(EACH): $(each)
$(once): $(OUT)/%/record.json: $(EXPORT)/$(ONNX)
	$(Q)$(share) $(call stage,$*)
$(each): $(OUT)/bs%/record.json: $(once) $(INPUTS)/manifest.json
	$(Q)$(alone) $(call stage,$(notdir $*),$(on_chip))

# --- Another command, other flags, other tools --------------------------------

# Make 4.3 strips the last newline of a file that it reads only sometimes, hence the strip. Asked why, it says the key to compare.
made_by = $(strip $(file <$(dir $2)command))
differs = $(if $(and $(findstring $1,$2),$(findstring $2,$1)),,yes)
stale_stage = $(if $(why),$(info key $2 $(call key,$1)))$(if $(or $(call differs,$(made_by),$(call key,$1)),$(if \
	$(wildcard $(dir $2)reads.mk),,yes)),$2)
.PHONY: changed
changed: ;
$(call stale_stage,preprocess,$(INPUTS)/manifest.json) $(call stale_stage,pth2onnx,$(EXPORT)/$(ONNX)) \
$(foreach s,$(ONCE),$(call stale_stage,$s,$(OUT)/$s/record.json)) \
$(foreach N,$(BS),$(if $(modify),$(call stale_stage,modify_onnx,$(RUN)/modify_onnx/model.onnx)) \
	$(call stale_stage,atc,$(RUN)/atc/model.om) $(call stale_stage,infer,$(RUN)/infer/outputs_summary.json) \
	$(foreach s,$(EACH),$(call stale_stage,$s,$(RUN)/$s/record.json)) \
	$(call stale_stage,perf,$(RUN)/perf/log.txt) $(call stale_stage,postprocess,$(RUN)/postprocess/report.json)): changed

.PHONY: train
train: $(CORPUS) $(clean_first) ## train the weights that are shipped, where the original releases none
	$(if $(value TRAIN),,$(error $(model) is not trained here))
	$(PYTHON) $(CURDIR)/train.py $(TRAIN) --output $(OUT)/train

.PHONY: clean
clean: ## remove what these stages made
	rm -rf $(OUT)

endif


# --- What a model may have beside its stages ----------------------------------

# A peer whose packages get on with nobody else's lives in an environment of its own, which oracle.sh makes.
ifneq (,$(wildcard oracle.sh))
KNOBS += ORACLE
ORACLE ?= $(root)/.oracle
.PHONY: oracle
oracle: $(ORACLE)/ready ## the Python of the peer that this model is compared with; Python 3.11
$(ORACLE)/ready: oracle.sh oracle.txt
	bash oracle.sh $(PYTHON3) $(ORACLE)
endif

# --- Bench: runs made in folders of their own, then timed again beside each other ---------

bench := $(OUT_ROOT)/bench/$(model)
include $(wildcard bench.mk)
ifneq (,$(BENCH))
.PHONY: bench
bench: $(VENV)/ready $(BENCH_NEEDS) ## how much faster than the original's recipe, on this CPU; many minutes
	@mkdir -p $(bench)
	@$(if $(BENCH_CORPUS),$(PYTHON) $(BENCH_CORPUS))
	@n=0; for settings in $(BENCH); do n=$$((n + 1)); eval "$(MAKE) OUT_ROOT=$(bench)/$$n $$settings infer"; done
	@$(PYTHON) -m npukit compare $(bench)/1 $(bench)/2 $(BENCH_COMPARE)
	@$(if $(BENCH_PEER),$(PYTHON) $(BENCH_PEER))
endif

# --- Help ---------------------------------------------------------------------

.PHONY: help show fusions why
help: ## this text
	@echo '$(model): $(SUMMARY)'
	@echo 'make [PROFILE=$(subst $(space),|,$(PROFILES))] [BS="$(BATCHES)"|all] [SOC=cpu|auto|Ascend310P3] [STANDIN=1] [DEVICE=0] [V=1] stage ...'
	@$(call targets,$(root)/common/model.mk)

# A knob's meaning is its comment in the makefile that has it, the model's own first.
meaning = $$(sed -n 's/^\# *$1  *//p' Makefile $(root)/common/{bert,lengths,model,python}.mk | head -1)
came_from = $(if $(filter file undefined override,$(origin $1)),default,$(subst command line,given,$(origin $1)))
quoted = '$(subst ','\'',$1)'
show: ## what this model declares, and every variable that can be set: its value, where it came from, what it means
	@$(foreach v,SUMMARY PROFILES BATCHES ONNX OUT,printf '%-12s %s\n' $v $(call quoted,$($v));)
	@$(foreach v,$(KNOBS),printf '%-12s %-28s %-11s %s\n' $v $(call quoted,$(or $($v),-)) '$(call came_from,$v)' "$(call meaning,$v)";)
	@$(fusions)
fusions: # for `make plan`: what ATC fuses, where the network has attention
	@$(fusions)

why: ## which file or flag makes each stage stale
	@plan=$$(LC_ALL=C $(MAKE) -n --debug=basic NPUKIT_LOCKED=1 why=1 $(found) reports); \
	PYTHONPATH=$(root)/common $(PYTHON3) -m npuops why $(OUT) <<<"$$plan"
