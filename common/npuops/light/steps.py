"""The first hour on a chip: doctor, conformance, every model at two batch sizes and in gears, and one tarball to send home.

Each step is a make goal of its own with its log. What is done is not done again by a later call; a step that failed or was left
out is. The device is held only in steps that need it, and they together take no longer than the minutes that are granted; the
tarball is written anew after every step, so that whatever ends the allotment leaves one.

    out/<chip>/first-light/steps.json     what was run: status, seconds, whether on the device
                           logs/          what each step printed
                           gears/         the models' out/ for inference in gears
    out/<chip>/first-light-<chip>.tar.gz  see npuops.light.report
"""
import functools
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from npukit import files
from npukit.errors import JobFailed, UserError
from npuops import places, processes

PROFILES = ("released", "random", "trained", "tiny")  # the first whose text and weights are there
GEARS = 4  # as many as CANN's documentation advises: compiling takes longer with each
DONE, FAILED, LEFT_OUT = "done", "failed", "left out"
PATIENCE = 10  # seconds between SIGTERM and SIGKILL for a step
USED_UP = "the minutes of NPU time are used up"


@dataclass(frozen=True)
class Step:
    """One make call. On the device only where npu is set; after tells a step without which it makes no sense."""

    name: str
    goal: tuple[str, ...]
    npu: bool = False
    after: str | None = None


@dataclass(frozen=True)
class Plan:
    """What first light is asked for.

    root, out   the checkout; its out/
    soc         Ascend310P3
    standin     whether the stand-in answers in the chip's place
    models      in the order of importance
    batches     two batch sizes
    profile     tiny, random, ...; the best that is there if not given
    """

    root: Path
    out: Path
    soc: str
    standin: bool
    models: tuple[str, ...]
    batches: tuple[int, ...]
    profile: str | None = None
    device: int = 0

    @property
    def chip(self) -> str:
        return places.chip(self.soc, self.standin)

    @property
    def place(self) -> Path:
        return self.out / self.chip / "first-light"

    @property
    def gears(self) -> Path:
        return self.place / "gears"

    def make(self, *goal: str) -> list[str]:
        """Return a call of the front door on this machine: the tools at hand are what is looked at."""
        standin = ["STANDIN=1"] if self.standin else []
        settings = ["ENGINE=none", f"SOC={self.soc}", *standin, f"DEVICE={self.device}", f"OUT_ROOT={self.out}"]
        return ["make", "--no-print-directory", "-C", str(self.root), *settings, *goal]


def steps(plan: Plan) -> list[Step]:
    """Return all steps, what matters most first: how the tools behave, every model once, larger batches, gears, the twin.

    Of the models those that run in gears come first, for it is the chip that decides on them.
    """
    profiles = {model: profile_of(plan, model) for model in plan.models}
    found = [Step("doctor", ("doctor",)),
             Step("conformance of the tools", ("conformance", "STRICT=", "CASES=not device")),
             Step("conformance on the device", ("conformance", "STRICT=", "CASES=device"), npu=True)]
    in_order = sorted(plan.models, key=lambda model: not has_gears(plan, model))
    for batch in plan.batches:
        for model in in_order:
            found += stages(f"{model} bs{batch}", (f"MODEL={model}", f"BS={batch}", f"PROFILE={profiles[model]}"))
    for batch in reversed(plan.batches):
        for model in filter(lambda model: has_gears(plan, model), in_order):
            found += stages(f"{model} bs{batch} in gears",
                            (f"MODEL={model}", f"BS={batch}", f"PROFILE={profiles[model]}", "SEQ_LENS=auto",
                                                           f"GEARS={GEARS}", f"OUT_ROOT={plan.gears}"))
    if not plan.standin:  # which is its own twin
        found += [Step(f"{model} bs{plan.batches[0]} on the twin",
                       (f"MODEL={model}", f"BS={plan.batches[0]}", f"PROFILE={profiles[model]}",
                       "STANDIN=1", "LOOP=1", "postprocess")) for model in in_order]
    return found


def stages(name: str, settings: tuple[str, ...]) -> list[Step]:
    """Return the steps of one model and batch size: only the one in the middle needs the device."""
    return [Step(f"{name}, compile", (*settings, "atc")),
            Step(f"{name}, infer", (*settings, "infer", "perf"), npu=True, after=f"{name}, compile"),
            Step(f"{name}, report", (*settings, "postprocess"), after=f"{name}, infer")]


@functools.cache
def profile_of(plan: Plan, model: str) -> str:
    """Return the plan's profile, or the first of PROFILES that the model has and whose text and weights are there."""
    if plan.profile:
        return plan.profile
    for profile in PROFILES:
        command = plan.make("-n", f"MODEL={model}", f"PROFILE={profile}", "preprocess", "pth2onnx")
        done = subprocess.run(command, capture_output=True, env=environment())
        if done.returncode == 0:
            return profile
    raise UserError(f"{model} has none of the profiles {', '.join(PROFILES)} here; try make MODEL={model} all")


def has_gears(plan: Plan, model: str) -> bool:
    """Say whether a model's page of facts leaves its lengths to the caller."""
    return re.search(r"^SEQ_LENS\b", (plan.root / "models" / model / "Makefile").read_text(encoding="utf-8"),
                     re.M) is not None


def run(plan: Plan, minutes: float, report) -> list[dict]:
    """Run what is not done yet, calling report(records) after each step; return all steps' records.

    minutes  of NPU time, for this call
    """
    path = plan.place / "steps.json"
    before = {record["name"]: record for record in files.read_json(path)} if path.exists() else {}
    records, left_s = [], 60 * minutes
    for step in steps(plan):
        old = before.get(step.name)
        if old and old["status"] == DONE and old["command"] == shlex.join(plan.make(*step.goal)):
            records.append(old)
            continue
        record = run_one(plan, step, left_s, {each["name"]: each["status"] for each in records})
        left_s -= record["seconds"] if step.npu else 0
        records.append(record)
        later = {name: old for name, old in before.items() if name not in {each["name"] for each in records}}
        files.write_json(path, [*records, *later.values()])
        report(records)
    return records


def run_one(plan: Plan, step: Step, left_s: float, statuses: dict[str, str]) -> dict:
    """Run one step, or leave it out where there is no time left or what it needs failed; return its record."""
    command = plan.make(*step.goal)
    record = {"name": step.name, "command": shlex.join(command), "npu": step.npu, "seconds": 0.0, "status": LEFT_OUT,
              "why": None}
    if step.after and statuses.get(step.after) != DONE:
        return record | {"why": f"{step.after} is not done"}
    if step.npu and left_s <= 0:
        return record | {"why": USED_UP}
    log = plan.place / "logs" / f"{re.sub('[^a-z0-9_]+', '-', step.name.lower())}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    status = watch(command, log, left_s if step.npu else None)
    seconds = time.monotonic() - began
    print(f"{seconds:7.1f} s  {step.name}{'' if status == 0 else ': ' + last_line(log)}", flush=True)
    if status == 0:
        return record | {"seconds": seconds, "status": DONE}
    return record | {"seconds": seconds, "status": FAILED, "why": USED_UP if status is None else last_line(log)}


def watch(command: list[str], log: Path, limit_s: float | None) -> int | None:
    """Run a command with its output in a log; return its exit status, or None if it was ended at its time limit.

    What ends this process ends the command too: nothing may hold the device any longer.
    """
    with open(log, "wb") as output:
        status, guard = processes.run(command, limit_s=limit_s, patience_s=PATIENCE, env=environment(),
                                      stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if guard.told:
        sys.exit(128 + guard.told)
    return None if guard.timed_out else status


def environment() -> dict[str, str]:
    """Return the environment without what a make above hands on: a step's goal says all that it is to be told."""
    return {name: value
            for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}


def last_line(log: Path) -> str:
    """Return the line that says why a step failed: the last one that is not make's own."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if not re.match(r" |make.*(Error \d+|\[.*\] Terminated)$", line)]
    return (telling or lines or ["it said nothing"])[-1][:300]


def judge(records: list[dict]) -> None:
    """Raise JobFailed if a step is not done; a chip's differences are the result and no failure."""
    if missing := [record for record in records if record["status"] != DONE]:
        raise JobFailed("; ".join(f"{record['name']}: {record['status']}, {record['why']}" for record in missing))
