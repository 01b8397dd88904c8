# python.mk - the Python that everything runs in: .venv, made once from pinned packages.
#
# VENV=/path takes another place; an image names the environment it was built with. The library itself is not
# installed but found on PYTHONPATH, so that one environment serves any number of checkouts.

#   VENV     the environment, if not .venv
#   PYTHON3  the Python that makes it, and that looks at the machine

KNOBS += VENV PYTHON3
VENV ?= $(root)/.venv
PYTHON3 ?= python3
PYTHON := $(VENV)/bin/python
export PYTHONPATH := $(root)/common$(if $(PYTHONPATH),:$(PYTHONPATH))

comma := ,
empty :=
space := $(empty) $(empty)

# A variable that nothing knows is a slip. Those that somebody may set have capitals and stand in a KNOBS of some makefile,
# or are the facts of a bench.mk, which a shorter bench may replace.
known = $(shell sed -nE 's/^KNOBS \+?:?= //p' $(root)/Makefile $(root)/docker/*.mk $(root)/common/*.mk $(root)/models/*/Makefile 2>/dev/null) BENCH%
set := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
capitals := A B C D E F G H I J K L M N O P Q R S T U V W X Y Z
slips := $(filter $(capitals:%=%%),$(filter-out MAKE% NPUKIT_%,$(set)))
$(if $(slips),$(foreach v,$(filter-out $(known),$(slips)),$(error nothing knows $v=; `make show MODEL=name` tells what can be set)))

# Neither make nor the shell that it calls is given a name with a blank.
one_word = $(if $(word 2,$($1)),$(error $1='$($1)': npukit takes no blanks here))
whole_path = $(if $(filter-out /% random,$($1)),$(error $1='$($1)': give the whole path, from /))
places_checked = $(foreach v,DATA OUT_ROOT VENV PROFILE SOC STANDIN,$(call one_word,$v))$(foreach v,DATA OUT_ROOT VENV,$(call whole_path,$v))

# A chip's number. (Digits are taken away one by one; what is left was none.)
no_digits = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$1))))))))))
number = $(if $(word 2,$($1))$(call no_digits,$($1))$(if $(strip $($1)),,no),$(error $1='$($1)'; it is a chip's number: 0, 1, ...))

# What SOC=auto stands for, as npu-smi tells it; with STANDIN=1 the stand-in's.
chip = $(or $(shell $(if $(STANDIN),PATH=$(root)/common/standin/bin:$$PATH) PYTHONPATH=$(root)/common $(PYTHON3) -m npuops soc),\
	$(error SOC=auto found no chip; name one, or SOC=cpu))

# Results lie in $(OUT_ROOT)/<chip>/<profile>/<model>; a stand-in's never where a chip's do.
chip_folder = $(OUT_ROOT)/$(SOC)$(if $(filter cpu,$(SOC)),,$(if $(STANDIN),-standin))

# SOC=auto asks once: what it found is handed down.
found = $(if $(filter override,$(origin SOC)),SOC=$(SOC))

# What takes a lock of this machine: $(lock) PATH COMMAND. lock.py says more. The environment's Python, once it is there, starts
# faster than what may stand before the machine's.
lock = $(firstword $(wildcard $(PYTHON)) $(PYTHON3)) -IS $(root)/common/npuops/lock.py

# One make at a time makes a model's results; those that only infer, one batch size each, may be at work beside each other.
# Jobs of a cluster, which other hosts must see too, lock stage by stage.
locks = $(OUT_ROOT)/.locks
model_folder = $(chip_folder)/$(PROFILE)/$1
one_make = $(if $(JOB),,$(lock) $(if $(BESIDE),--shared) --now 'another make is at work on $(model_folder); let it finish, or stop it' \
	$(locks)/$(subst /,-,$(model_folder:$(OUT_ROOT)/%=%)))

# All that this project needs of a machine beside bash and git; `make doctor` looks closer.
$(if $(filter 3.% 4.0 4.1,$(MAKE_VERSION)),$(error this is GNU Make $(MAKE_VERSION); npukit needs 4.2 or newer \
	(Debian: apt install make; macOS: brew install make, then gmake)))
ifneq (,$(filter-out help,$(MAKECMDGOALS)))
$(if $(shell command -v $(PYTHON3)),,$(error there is no $(PYTHON3) on PATH; install Python 3.11 or 3.12 with its venv module \
	(Debian: apt install python3-venv), or name one with PYTHON3=))
endif

# The goals of makefiles that have a sentence behind ##, for `make help`.
targets = sed -n 's/^\([a-z0-9_-]*\):.*\#\# \(.*\)/\1|\2/p' $1 | \
	while IFS='|' read -r name text; do printf '  %-17s %s\n' "$$name" "$$text"; done

# The first make installs. An image is complete.
ifndef NPUKIT_IMAGE
$(VENV)/ready: $(root)/common/constraints.txt $(root)/common/requirements.txt
	@mkdir -p $(@D)
	@$(lock) $(VENV).lock bash $(root)/common/setup.sh $(PYTHON3) $(VENV)
endif
