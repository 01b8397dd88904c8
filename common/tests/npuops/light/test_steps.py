"""The steps of first light on a front door that only takes notes: their order, what is run again, and how long the device is held."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from npukit.errors import JobFailed, UserError
from npuops.light import steps as first_light
from npuops.light.steps import DONE, FAILED, LEFT_OUT, Plan

DOOR = """
goals := doctor conformance preprocess pth2onnx atc infer perf postprocess
$(if $(filter preprocess,$(MAKECMDGOALS)),$(if $(wildcard has-$(PROFILE)),,$(error no $(PROFILE) here)))
.PHONY: $(goals)
$(goals):
	@echo "$@ $(MODEL) $(BS)$(CASES) $(SEQ_LENS)$(if $(STANDIN),standin)" >>notes
	@if [ -e fails-$@-$(MODEL) ]; then echo 'the board is cold' >&2; exit 1; fi
	@if [ -e lingers-$@ ]; then echo $$$$ >pid; sleep 60; fi
"""


@pytest.fixture
def plan(tmp_path) -> Plan:
    """Two models, one of them with gears; the profile trained is the best that is there."""
    (tmp_path / "Makefile").write_text(DOOR)
    for model, facts in (("flat", "LOOP ?= 100\n"), ("geared", "SEQ_LENS ?= 128\n")):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "Makefile").write_text(facts)
    for profile in ("trained", "tiny"):
        (tmp_path / f"has-{profile}").touch()
    return Plan(tmp_path, tmp_path / "out", "Ascend310P3", False, ("flat", "geared"), (1, 8))


def notes(plan: Plan) -> list[str]:
    """Return what the front door was asked for since the last time."""
    path = plan.root / "notes"
    lines = [" ".join(line.split()) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def run(plan: Plan, minutes: float = 30) -> dict[str, dict]:
    return {record["name"]: record for record in first_light.run(plan, minutes, lambda records: None)}


ONE = ["atc", "infer", "perf", "postprocess"]
ALL = ["doctor", "conformance not device", "conformance device",
       *(f"{goal} {model} {n}" for n in (1, 8) for model in ("geared", "flat") for goal in ONE),
       *(f"{goal} geared {n} auto" for n in (8, 1) for goal in ONE),
       *(f"postprocess {model} 1 standin" for model in ("geared", "flat"))]


def test_what_matters_most_comes_first(plan):
    records = run(plan)
    assert notes(plan) == ALL
    assert {record["status"] for record in records.values()} == {DONE}
    held = [name for name, record in records.items() if record["npu"]]
    assert held == ["conformance on the device", *(name for name in records if name.endswith(", infer"))]
    assert all("PROFILE=trained" in record["command"] for record in list(records.values())[3:])


def test_what_is_done_is_not_done_again(plan):
    run(plan)
    notes(plan)
    assert {record["status"] for record in run(plan).values()} == {DONE} and notes(plan) == []
    other = Plan(**{**vars(plan), "batches": (1, 4)})
    run(other)
    assert {line.split()[2] for line in notes(plan)} == {"4"}, "only what is new"
    run(plan)
    assert notes(plan) == [], "what was done for other batch sizes is not forgotten"


def test_a_failed_step_leaves_out_only_what_needs_it_and_is_tried_again(plan):
    (plan.root / "fails-infer-geared").touch()
    records = run(plan)
    assert records["geared bs1, infer"]["status"] == FAILED and records["geared bs1, infer"]["why"] == "the board is cold"
    assert records["geared bs1, report"]["status"] == LEFT_OUT and records["flat bs1, report"]["status"] == DONE
    with pytest.raises(JobFailed, match="geared bs1, infer: failed, the board is cold; geared bs1, report: left out"):
        first_light.judge(list(records.values()))
    (plan.root / "fails-infer-geared").unlink()
    notes(plan)
    assert {record["status"] for record in run(plan).values()} == {DONE}
    assert notes(plan)[:3] == ["infer geared 1", "perf geared 1", "postprocess geared 1"]


def test_the_device_is_not_held_longer_than_granted(plan):
    (plan.root / "lingers-infer").touch()
    began = time.monotonic()
    records = run(plan, minutes=1 / 60)
    assert time.monotonic() - began < 30
    assert records["geared bs1, infer"]["why"] == first_light.USED_UP and records["flat bs1, infer"]["status"] == LEFT_OUT
    assert records["flat bs8, compile"]["status"] == DONE, "what needs no device goes on"
    wait_for_death(int((plan.root / "pid").read_text()))


def wait_for_death(pid: int) -> None:
    """What was started is ended with its step."""
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end, f"process {pid} is left behind"
        time.sleep(0.05)


def test_the_end_of_an_allotment_ends_all_and_loses_nothing(plan):
    (plan.root / "lingers-infer").touch()
    script = f"from pathlib import *; from npuops.light import steps as f; f.run(f.{plan!r}, 30, lambda records: None)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (plan.root / "pid").exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    wait_for_death(int((plan.root / "pid").read_text()))
    (plan.root / "lingers-infer").unlink()
    notes(plan)
    run(plan)
    assert notes(plan) == ALL[ALL.index("infer geared 1"):], "it goes on with the step at hand"


def test_a_report_after_each_step(plan):
    lengths = []
    first_light.run(plan, 30, lambda records: lengths.append(len(records)))
    assert lengths == list(range(1, len(lengths) + 1))
    assert json.loads((plan.place / "steps.json").read_text())[0]["name"] == "doctor"


def test_the_stand_in_is_its_own_twin(plan):
    steps = first_light.steps(Plan(**{**vars(plan), "standin": True}))
    assert not [step for step in steps if "twin" in step.name]


def test_a_makes_own_flags_are_not_handed_on(plan, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "n -- BS=64")
    run(plan)
    assert notes(plan) == ALL


def test_no_profile_at_all(plan):
    for path in plan.root.glob("has-*"):
        path.unlink()
    with pytest.raises(UserError, match="flat has none of the profiles released, random, trained, tiny here"):
        first_light.steps(plan)
