# engine.mk - the front door's jobs in containers, and their images. README.md beside this file tells the same by hand.
#
#   ENGINE     docker, podman or none (here, without a container); found by trying
#   IMAGE      the image's name, if not npukit-cpu or, for a chip, npukit-cann
#   DEVICE     the chip: N of /dev/davinciN; DEVICES="0 1 2 3" spreads models and batch sizes over several
#   RUN_FLAGS  BUILD_FLAGS   further flags for the engine's run and build
#   BASE       the image to build on: a site's own mirror or its own CANN. ARCH, PY: its architecture and Python
#   AIS_BENCH  for wheelhouse: a checkout of ais_bench or a folder with its wheels; for image: none, to do without
#
# Sets `engine`, if a job runs in a container, and then has the rules for all that contained jobs are asked for.

KNOBS := ENGINE IMAGE DEVICES RUN_FLAGS BUILD_FLAGS BASE ARCH PY AIS_BENCH NODES COMMIT ASCEND_RUNTIME
ENGINE ?=
IMAGE ?=
DEVICES ?= $(DEVICE)
RUN_FLAGS ?=
BUILD_FLAGS ?=
ARCH ?= $(shell uname -m)
PY ?= 3.11
AIS_BENCH ?=
NODES ?= $(wildcard /dev/davinci[0-9] /dev/davinci[0-9][0-9])

contained := $(STAGES) all train clean why results ledger
asked := $(filter $(contained),$(MAKECMDGOALS))
on_chip := $(if $(filter cpu,$(SOC))$(STANDIN),,$(filter infer perf $(if $(JOB),,postprocess all),$(asked)))

# --- Which engine: the first that answers and has the image -------------------

image := $(or $(IMAGE),npukit-$(if $(filter cpu,$(SOC))$(STANDIN),cpu,cann))
label = org.opencontainers.image.revision
revision_of = $(shell $1 image inspect --format '{{ index .Config.Labels "$(label)" }}' $(image) 2>/dev/null)
COMMIT ?= $(shell git -C $(root) describe --always --abbrev=40 --exclude '*' --dirty=+changes 2>/dev/null || echo unknown)
engine :=
ifneq (,$(asked))
$(foreach e,$(filter-out none,$(or $(ENGINE),docker podman)),$(if $(engine),,$(eval revision := $$(call revision_of,$e))\
	$(if $(revision),$(eval engine := $e))))
$(if $(engine)$(filter none,$(ENGINE)),,$(if $(ENGINE),$(error $(ENGINE) does not answer, or has no image $(image): see docker/README.md)))
endif
ifneq (,$(filter $(STAGES) all train,$(asked)))
$(info $(if $(engine),running in $(image) with $(engine),running $(or $(NPUKIT_IMAGE:%=in a container of %),on this machine: $(if \
	$(ENGINE),ENGINE=$(ENGINE),no container engine answers with an image $(image)))))
$(if $(engine),$(if $(filter $(COMMIT),$(revision)),,$(info $(image) holds commit $(revision), this checkout is at $(COMMIT): `make image` brings it up to date)))
endif

ifndef engine
$(if $(word 2,$(DEVICES)),$(if $(filter infer perf postprocess all,$(asked)),$(error DEVICES='$(DEVICES)': to spread a run over chips takes a \
	container engine; without one it is DEVICE=N)))
else

# --- What a container is given: data/ to read, out/ to write, nothing else ----

docker_info := $(if $(filter docker,$(engine)),$(shell docker info --format '{{ .SecurityOptions }} {{ .Runtimes }}' 2>/dev/null))
ids := $(shell id -u):$(shell id -g)
user = $(if $(findstring name=rootless,$(docker_info)),--user 0:0,$(if $(filter podman,$(engine)),$(if $(filter 0:%,$(ids)),,--userns keep-id)) --user $(ids))
own_files = $(foreach v,CORPUS CHECKPOINT VOCAB TOKENIZER OPTIONS,$(if $(filter /%,$($v)),-v $($v):$($v):ro))
sealed = $(engine) run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges $(user) \
	-v $(DATA):/npukit/data:ro -v $(OUT_ROOT):/npukit/out $(own_files) --network none $(RUN_FLAGS)

# What is handed on: whatever was set on the command line, and these from the environment too; but not this machine's places.
places := ENGINE IMAGE COMMIT DATA OUT_ROOT VENV PYTHON3 LOCAL DEVICE DEVICES NODES RUN_FLAGS MODEL BS SOC PROFILE STANDIN
given := $(sort $(filter-out $(places),$(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v)) \
	$(foreach v,$(handed_on),$(if $(filter environment command,$(origin $v)),$v))))
setting = $1='$(subst ','\'',$($1))'
settings = $(foreach v,PROFILE SOC STANDIN $(given),$(call setting,$v))
job = $(image) make MODEL='$1' BS='$2' $(settings) $(filter -j%,$(MAKEFLAGS))

.PHONY: $(contained) contained before
$(contained): contained ;

ifeq (,$(on_chip))

contained:
	@mkdir -p $(OUT_ROOT)
	$(sealed) $(call job,$(MODEL),$(BS)) $(asked)

else

# --- With a chip: before, on it, and after ------------------------------------

# Compiling and judging take no device: the chip is held while it infers. One container and one chip for a model and a
# batch size; each chip takes its jobs in turn, so with several chips as many jobs run at once.
$(foreach d,$(DEVICES),$(if $(filter /dev/davinci$d,$(NODES)),,$(error there is no /dev/davinci$d on this host; $(if \
	$(NODES),there is $(NODES),has it an NPU and its driver?))))
measured := $(if $(filter postprocess all,$(asked)),infer perf,$(filter infer perf,$(asked)))
after := $(filter postprocess all,$(asked))
chip_jobs := $(foreach m,$(MODEL),$(foreach n,$(if $(filter all,$(BS)),$(call batches_of,$m),$(BS)),$m-bs$n))
queue := $(DEVICES)
$(foreach j,$(chip_jobs),$(eval chip_of_$j := $(firstword $(queue)))$(eval $j: | $(last_on_$(chip_of_$j)))$(eval \
	last_on_$(chip_of_$j) := $j)$(eval queue := $(wordlist 2,99,$(queue)) $(chip_of_$j)))
MAKEFLAGS += $(if $(word 2,$(DEVICES)),-j$(words $(DEVICES)))

# The Ascend Docker Runtime brings nodes and driver by itself; without it they are named here, those that the host has.
ASCEND_RUNTIME ?= $(findstring ascend,$(docker_info))
control := $(wildcard /dev/davinci_manager /dev/devmm_svm /dev/hisi_hdc)
driver := $(wildcard /usr/local/dcmi /usr/local/bin/npu-smi /usr/local/sbin/npu-smi /usr/local/Ascend/driver/lib64 \
	/usr/local/Ascend/driver/version.info /etc/ascend_install.info)
group = $(shell stat --format %g /dev/davinci$1 2>/dev/null)
join = $(if $(filter 0:%,$(ids)),,$(if $(filter podman,$(engine)),--group-add keep-groups,$(addprefix --group-add ,$(group))))
by_hand = --device /dev/davinci$1 $(control:%=--device %) $(foreach f,$(driver),-v $f:$f:ro)
chip_flags = $(if $(ASCEND_RUNTIME),--runtime $(ASCEND_RUNTIME) -e ASCEND_VISIBLE_DEVICES=$1,$(by_hand)) $(join)

# A lock is a folder, for anybody can lock a folder that somebody else has made. The host sees who else is on the chip.
chip_lock = /tmp/npukit-davinci$1
idle = $(if $(filter perf,$(measured)),$(if $(shell command -v npu-smi),$(PYTHON3) -m npuops idle $1))

.PHONY: $(chip_jobs)
before:
	@mkdir -p $(OUT_ROOT)
	$(sealed) $(call job,$(MODEL),$(BS)) $(filter-out infer perf $(after),$(asked)) atc
$(chip_jobs): before
	$(foreach d,$(chip_of_$@),mkdir -p $(call chip_lock,$d); $(lock) $(call chip_lock,$d) $(call idle,$d) \
		$(sealed) $(call chip_flags,$d) $(call job,$(firstword $(subst -bs, ,$@)),$(lastword $(subst -bs, ,$@))) BESIDE=1 $(measured))
contained: $(chip_jobs)
	$(if $(after),$(sealed) $(call job,$(MODEL),$(BS)) $(after))

endif
endif

# --- The images ---------------------------------------------------------------

.PHONY: image wheelhouse image-save image-push image-index pins test-images
tarball = $(subst :,-,$(notdir $(image))).tar.gz
default_base := $(if $(filter %-cann,$(image)),quay.io/ascend/cann:9.0.1-310p-ubuntu22.04-py3.11,python:3.11-slim-bookworm)
BASE ?= $(default_base)
builder = $(or $(firstword $(foreach e,$(or $(ENGINE),docker podman),$(shell $e info >/dev/null 2>&1 && echo $e))),$(error no \
	container engine answers; tried $(or $(ENGINE),docker and podman)))
wheels := wheelhouse/$(ARCH)-py$(PY)
platform = $(if $(filter $(ARCH),$(shell uname -m)),,--platform linux/$(if $(filter aarch64,$(ARCH)),arm64,amd64))
versions_label = python $(PY) $(shell grep -E '^(torch|transformers|onnx|onnxruntime|numpy)==' $(root)/common/constraints.txt)

wheelhouse: ## all wheels for an image, on a connected machine; ARCH=aarch64 PY=3.11 AIS_BENCH=folder
	PYTHON=$(PYTHON3) bash docker/wheelhouse.sh $(wheels) $(ARCH) $(PY) $(AIS_BENCH)

image: ## build npukit-cpu, or with SOC=Ascend310P3 npukit-cann; needs no network
	@[[ -d $(wheels) ]] || { echo 'there is no $(wheels): `make wheelhouse ARCH=$(ARCH) PY=$(PY)` on a connected machine makes it' >&2; exit 2; }
	$(builder) build --network none $(platform) -f docker/Dockerfile --build-arg BASE=$(BASE) --build-arg WHEELHOUSE=$(wheels) --build-arg IMAGE=$(image) \
		--build-arg COMMIT=$(COMMIT) --build-arg VERSIONS='$(versions_label)' $(if $(filter none,$(AIS_BENCH)),--build-arg AIS_BENCH=none) \
		$(BUILD_FLAGS) -t $(image) .
	@$(builder) image inspect --format '$(image) {{ .Id }} {{ .Size }} bytes' $(image); $(builder) image inspect --format 'on $(BASE) {{ .RepoDigests }}' $(BASE)

image-save: ## the image as a tarball with its digests, to carry to another machine
	@mkdir -p $(OUT_ROOT)/images
	$(builder) save $(image) | gzip -1 >$(OUT_ROOT)/images/$(tarball).new
	@cd $(OUT_ROOT)/images; mv $(tarball).new $(tarball); sha256sum $(tarball) >$(tarball).sha256; \
	$(builder) image inspect --format 'image {{ .Id }}' $(image) >$(tarball).digest; cat $(tarball).sha256 $(tarball).digest

image-push: ## push the image to the registry that its name, IMAGE=, begins with
	$(builder) push $(image)

image-index: ## one name, IMAGE=, for the images IMAGE-amd64 and IMAGE-arm64 that were pushed
	$(builder) manifest create $(image) $(image)-amd64 $(image)-arm64
	$(builder) manifest push $(image)

pins: ## every pin has a wheel for aarch64 and x86-64, Python 3.11 and 3.12; asks the index
	for arch in aarch64 x86_64; do for py in 3.11 3.12; do PYTHON=$(PYTHON3) bash docker/wheelhouse.sh --check $$arch $$py; done; done

test-images: $(VENV)/ready ## the images on a real engine, as root: .ci/with-engine make test-images
	$(PYTHON) -m pytest -q -c common/pyproject.toml --rootdir . docker
