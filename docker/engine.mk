# engine.mk - the front door's jobs in containers, and their images. README.md beside this file tells the same by hand.
#
#   ENGINE     docker, podman or none (here, without a container); found by trying
#   IMAGE      the image's name, if not npukit-cpu or, for a chip, npukit-cann
#   DEVICE     the chip: N of /dev/davinciN; DEVICES="0 1 2 3" spreads models and batch sizes over several
#   RUN_FLAGS  BUILD_FLAGS   further flags for the engine's run and build
#   BASE       the image to build on: a site's own mirror or its own CANN. ARCH, PY: its architecture and Python
#   AIS_BENCH  for wheelhouse: a checkout of ais_bench or a folder with its wheels; for image: none, to do without
#
# Sets `engine`, if a job runs in a container, and then hands all that contained jobs are asked for to `run` beside this
# file, which says what a container is given.

KNOBS := ENGINE IMAGE DEVICES RUN_FLAGS BUILD_FLAGS BASE ARCH PY AIS_BENCH NODES COMMIT ASCEND_RUNTIME
ENGINE ?=
IMAGE ?=
DEVICES ?= $(DEVICE)
RUN_FLAGS ?=
BUILD_FLAGS ?=
ARCH ?= $(shell uname -m)
PY ?= 3.11
AIS_BENCH ?=

contained := $(STAGES) all train clean why results ledger
asked := $(filter $(contained),$(MAKECMDGOALS))
image := $(or $(IMAGE),npukit-$(if $(filter cpu,$(SOC))$(STANDIN),cpu,cann))
describe = git -C $(root) describe --always --abbrev=40 --exclude '*' --dirty=+changes
COMMIT ?= $(shell $(describe) 2>/dev/null || echo unknown)

run = PYTHONPATH=$(root)/common $(PYTHON3) $(root)/docker/run
quoted = $(foreach word,$1,'$(subst ','\'',$(word))')
engines := $(filter-out none,$(or $(ENGINE),docker podman))
engine := $(if $(and $(asked),$(engines)),$(shell $(run) --find $(call quoted,$(image) $(engines))))

ifdef engine

# What was set on the command line, and of the environment what a job may be told. Exported, it meets no shell.
given := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v)) \
	$(foreach v,$(handed_on),$(if $(filter environment,$(origin $v)),$v))
batch_sizes = $(if $(filter all,$(BS)),$(call batches_of,$1),$(BS))
export GIVEN := $(given)
export CHIP_JOBS := $(foreach m,$(MODEL),$(foreach n,$(call batch_sizes,$m),$m-bs$n))
export COMMIT := $(COMMIT)
export MODEL BS PROFILE SOC STANDIN DATA OUT_ROOT DEVICES RUN_FLAGS PYTHON3 $(given)

# With + the line runs under `make -n` as well (and -q, -t), and then prints what it would run.
dry_run = $(if $(strip $(foreach letter,n q t,$(findstring $(letter),$(firstword -$(MAKEFLAGS))))),--dry-run)
.PHONY: $(contained) contained
$(contained): contained ;
contained:
	+@$(run) $(dry_run) $(call quoted,$(engine) $(image)) $(asked)

else ifdef asked

$(if $(filter none,$(ENGINE)),,$(if $(ENGINE),$(error \
	$(ENGINE) does not answer, or has no image $(image): see docker/README.md)))
$(if $(filter $(STAGES) all train,$(asked)),$(info running $(or $(NPUKIT_IMAGE:%=in a container of %),on this machine: \
	$(if $(ENGINE),ENGINE=$(ENGINE),no container engine answers with an image $(image)))))
$(if $(word 2,$(DEVICES)),$(if $(filter infer perf postprocess all,$(asked)),$(error \
	DEVICES='$(DEVICES)': to spread a run over chips takes a container engine; without one it is DEVICE=N)))

endif

# --- The images ---------------------------------------------------------------

.PHONY: image wheelhouse image-save image-push image-index pins test-images
tarball = $(subst :,-,$(notdir $(image))).tar.gz
cann_base := quay.io/ascend/cann:9.0.1-310p-ubuntu22.04-py3.11
BASE ?= $(if $(filter %-cann,$(image)),$(cann_base),python:3.11-slim-bookworm)
answering = $(foreach name,$(or $(ENGINE),docker podman),$(shell $(name) info >/dev/null 2>&1 && echo $(name)))
builder = $(or $(firstword $(answering)),$(error no container engine answers; tried $(or $(ENGINE),docker and podman)))
wheels := wheelhouse/$(ARCH)-py$(PY)
platform = $(if $(filter $(ARCH),$(shell uname -m)),,--platform linux/$(if $(filter aarch64,$(ARCH)),arm64,amd64))
labelled := torch|transformers|onnx|onnxruntime|numpy
versions_label = python $(PY) $(shell grep -E '^($(labelled))==' $(root)/common/constraints.txt)

wheelhouse: ## all wheels for an image, on a connected machine; ARCH=aarch64 PY=3.11 AIS_BENCH=folder
	PYTHON=$(PYTHON3) bash docker/wheelhouse.sh $(wheels) $(ARCH) $(PY) $(AIS_BENCH)

image: ## build npukit-cpu, or with SOC=Ascend310P3 npukit-cann; needs no network
	@[[ -d $(wheels) ]] || { \
		echo 'there is no $(wheels): `make wheelhouse ARCH=$(ARCH) PY=$(PY)` on a connected machine makes it' >&2; exit 2; }
	$(builder) build --network none $(platform) -f docker/Dockerfile --build-arg BASE=$(BASE) \
		--build-arg WHEELHOUSE=$(wheels) --build-arg IMAGE=$(image) --build-arg COMMIT=$(COMMIT) \
		--build-arg VERSIONS='$(versions_label)' $(if $(filter none,$(AIS_BENCH)),--build-arg AIS_BENCH=none) \
		$(BUILD_FLAGS) -t $(image) .
	@$(builder) image inspect --format '$(image) {{ .Id }} {{ .Size }} bytes' $(image)
	@$(builder) image inspect --format 'on $(BASE) {{ .RepoDigests }}' $(BASE)

image-save: ## the image as a tarball with its digests, to carry to another machine
	@mkdir -p $(OUT_ROOT)/images
	$(builder) save $(image) | gzip -1 >$(OUT_ROOT)/images/$(tarball).new
	@cd $(OUT_ROOT)/images; mv $(tarball).new $(tarball); sha256sum $(tarball) >$(tarball).sha256; \
	$(builder) image inspect --format 'image {{ .Id }}' $(image) >$(tarball).digest; \
	cat $(tarball).sha256 $(tarball).digest

image-push: ## push the image to the registry that its name, IMAGE=, begins with
	$(builder) push $(image)

image-index: ## one name, IMAGE=, for the images IMAGE-amd64 and IMAGE-arm64 that were pushed
	$(builder) manifest create $(image) $(image)-amd64 $(image)-arm64
	$(builder) manifest push $(image)

pins: ## every pin has a wheel for aarch64 and x86-64, Python 3.11 and 3.12; asks the index
	for arch in aarch64 x86_64; do for py in 3.11 3.12; do \
		PYTHON=$(PYTHON3) bash docker/wheelhouse.sh --check $$arch $$py; done; done

test-images: $(VENV)/ready ## the images on a real engine, as root: .ci/with-engine make test-images
	$(PYTHON) -m pytest -q -c common/pyproject.toml --rootdir . docker
