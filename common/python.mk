# python.mk - the Python that everything runs in: .venv, made once from pinned packages.
#
# VENV=/path takes another place; an image names the environment it was built with. The library itself is not
# installed but found on PYTHONPATH, so that one environment serves any number of checkouts.

VENV ?= $(root)/.venv
PYTHON3 ?= python3
PYTHON := $(VENV)/bin/python
export PYTHONPATH := $(root)/common$(if $(PYTHONPATH),:$(PYTHONPATH))

# A chip's number. (Digits are taken away one by one; what is left was none.)
no_digits = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$1))))))))))
number = $(if $(word 2,$($1))$(call no_digits,$($1))$(if $(strip $($1)),,no),$(error $1='$($1)'; it is a chip's number: 0, 1, ...))

# What SOC=auto stands for, as npu-smi tells it; with STANDIN=1 the stand-in's.
chip = $(or $(shell $(if $(STANDIN),PATH=$(root)/common/standin/bin:$$PATH) PYTHONPATH=$(root)/common $(PYTHON3) -m npukit soc),\
	$(error SOC=auto found no chip; name one, or SOC=cpu))

# The first make installs; the last line records the pins and what they leave open, for the stages' keys. An image is complete.
ifndef NPUKIT_IMAGE
$(VENV)/ready: $(root)/common/constraints.txt $(root)/common/requirements.txt
	@echo 'setting up $(VENV): pinned packages, once; some minutes on a slow line'
	@mkdir -p $(@D); exec 9>>$(VENV).lock; flock 9; \
	$(PYTHON3) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo 'npukit needs Python 3.11 or 3.12; name one with PYTHON3=' >&2; exit 2; }; \
	$(PYTHON3) -m venv $(VENV); \
	$(PYTHON) -m pip install --disable-pip-version-check -c $(root)/common/constraints.txt -r $(root)/common/requirements.txt | \
		grep --line-buffered -v '^Requirement already satisfied'; \
	{ cat $(root)/common/constraints.txt; $(PYTHON) -m pip freeze | grep -E '^(torch|aclruntime|ais_bench)=' || true; } | \
		sha256sum | cut -c1-16 >$@.new; \
	mv $@.new $@
endif
