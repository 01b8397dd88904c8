"""What runs inside a job: one task, by the front door, on the device that the job was given.

The front door's make always exits with 2 when a command fails and prints that command's own code (`Error 75`): that line is read, so
that the job ends with the code of the house, through a container as well. SIGTERM ends the stage at hand and no more: the
stages before it are done, the job exits with 75, and when it runs again it goes on with that stage.
"""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from npukit.errors import UserError
from npuops import processes
from npuops.cluster import records
from npuops.cluster.plan import Plan, Task

# Where a job's environment may name its devices, in the order in which it is asked.
DEVICES = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_JOB_GRES", "NPU_DEVICE_ORDINAL", "ASCEND_VISIBLE_DEVICES",
           "ASCEND_RT_VISIBLE_DEVICES")
FAILED = re.compile(r"^make(?:\[\d+\])?: \*\*\* \[.*\] (?:Error (\d+)|[A-Z].*)$")
REFUSED = re.compile(r"^\S+: \*\*\* (.*?)\.?  Stop\.$")
PATIENCE = 20  # seconds between SIGTERM and SIGKILL for the stage at hand; Slurm's own KillWait is 30


def run(plan: Plan, task: Task, job: str, device: str | None, where: Path) -> int:
    """Run a task, write its record, and return the exit code of the house; 75 asks for another attempt.

    job     the scheduler's name for the job, for the record
    device  the NPU that an infer task runs on
    where   the plan's file
    """
    record = records.begin(plan, task, job, device)
    tried, last = len(record["attempts"]), len(record["attempts"]) > plan.site.retries
    if tried > plan.site.retries + 1:
        return ended(plan, record, 1, f"{record['attempts'][-2]['reason']}; given up after {tried - 1} attempts")
    code, reason = unmet(plan, task) or attempt(plan, task, device, where)
    return ended(plan, record,
                 *((1, f"{reason}; given up after {tried} attempts") if code == 75 and last else (code, reason)))


def attempt(plan: Plan, task: Task, device: str | None, where: Path) -> tuple[int, str]:
    """Run the task's commands one after another; return code and reason of the first that fails."""
    for line in commands(plan, task, device, where):
        code, reason = watch(line)
        if code:
            return code, reason
    return 0, ""


def unmet(plan: Plan, task: Task) -> tuple[int, str] | None:
    """Return code and reason if a task before this one has not succeeded; the table is made of what there is."""
    for name in task.after if task.goals else ():
        before = records.read(plan, name)
        if before is None or before["state"] in ("running", "interrupted"):
            return 75, f"{name} has not ended yet"
        if before["state"] != "done":
            return 1, f"{name}: {before['reason']}"
    return None


def ended(plan: Plan, record: dict, code: int, reason: str) -> int:
    state = "done" if code == 0 else "interrupted" if code == 75 else "failed"
    records.end(plan, record, state, code, reason)
    if code:
        print(f"npukit job: {record['task']} {state} ({code}): {reason}", file=sys.stderr, flush=True)
    return code


def commands(plan: Plan, task: Task, device: str | None, where: Path) -> list[list[str]]:
    """Return the command lines of a task: the front door; before it, and after the table, object storage where the site has some.

    With apptainer all of it runs in the image, with docker or podman what the front door starts.
    """
    store = plan.site.kubernetes
    if not task.goals:
        table = [sys.executable, "-m", "npuops", "cluster", "collect", "--plan", str(where)]
        models = " ".join(dict.fromkeys(model for model, _ in plan.runs()))
        sizes = " ".join(str(size) for size in dict.fromkeys(size for _, size in plan.runs()))
        return [table, *([front_door(plan, {"MODEL": models, "BS": sizes, "DEST": store.publish}, ["publish"])]
                         if store.publish else [])]
    settings = {"MODEL": task.model, "BS": str(task.batch_size or ""), "DEVICE": device or used_device(plan, task),
                "JOB": "1"}
    fetch = [front_door(plan, {"MODEL": task.model, "MIRROR": store.mirror},
                        ["fetch"])] if store.mirror and not task.after else []
    return [*fetch, front_door(plan, settings, task.goals)]


def used_device(plan: Plan, task: Task) -> str:
    """Return the device on which the task before ran; a stage is up to date with the device that it was run on."""
    before = records.read(plan, task.after[0]) if task.after else None
    return (before["attempts"][-1]["device"] if before else None) or ""


def front_door(plan: Plan, settings: dict[str, str], goals) -> list[str]:
    site = plan.site
    engine = "none" if site.engine == "apptainer" else site.engine
    image = site.image if engine in ("docker", "podman") else ""
    settings = plan.variables | {"ENGINE": engine, "IMAGE": image or ""} | settings
    make = ["make", "-C", plan.root, *(f"{name}={value}" for name, value in settings.items() if value), *goals]
    if site.engine != "apptainer":
        return make
    binds = [f"--bind={path}" for path in (plan.root, plan.variables["DATA"], plan.variables["OUT_ROOT"])]
    return ["apptainer", "exec", *binds, site.image, *make]


def watch(line: list[str]) -> tuple[int, str]:
    """Run a command, print what it prints, and return its meaning: code of the house and reason.

    SIGTERM ends it, and what it started; whatever came of it then counts as interrupted, unless it ended well.
    """
    environment = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    for name in ("LANGUAGE", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    heard = Heard()
    status, guard = processes.run(line, heard.take, patience_s=PATIENCE, env=environment, stdin=subprocess.DEVNULL)
    if status == 0:
        return 0, ""
    if guard.told:
        return 75, f"ended by {signal.Signals(guard.told).name}, the stages that were done are kept"
    if heard.verdict:
        return heard.verdict
    return (75, "make was killed") if status < 0 else (status if status in (1, 2, 75) else 1,
                                                       f"{line[0]} exited with {status}")


class Heard:
    """What make printed, as far as it tells of the first failure.

    verdict  code and reason of that failure, None where there is none: the reason is the last line that a stage printed before; the
             innermost make is the first to say that its command failed
    """

    def __init__(self):
        self.said, self.verdict = "", None

    def take(self, line: bytes) -> None:
        """Print a line and hear what it says."""
        text = line.decode(errors="replace")
        sys.stdout.write(text)
        sys.stdout.flush()
        self.hear(text.rstrip("\n"))

    def hear(self, line: str) -> None:
        if self.verdict is None and (failed := FAILED.match(line)):
            code = int(failed[1]) if failed[1] else 137  # Killed, Terminated
            self.verdict = (75 if code > 128 and code < 160 else code if code in (2, 75) else 1), self.said
        elif self.verdict is None and (refused := REFUSED.match(line)):
            self.verdict = 2, refused[1]
        elif line.strip() and not line.startswith("make"):
            self.said = line.strip()


def meaning(lines) -> tuple[int, str] | None:
    """Return code and reason of the first failure in what make printed, None where there is none."""
    heard = Heard()
    for line in lines:
        heard.hear(line)
    return heard.verdict


# --- The device ----------------------------------------------------------------------------------------------------------------------


def device(environment, ask=lambda: None, restarts: bool = False) -> str:
    """Return the number of the first device that the job was given, as --device and DEVICE= count.

    environment  the job's; DEVICES is the order in which it is read
    ask          called where the environment names none: the scheduler's own word, or None
    restarts     whether numbers begin at 0 inside the job, as in a pod: then the one device that is there is number 0
    raises       UserError where nobody names a device: 0..n-1 is never assumed
    """
    for name in DEVICES:
        if numbers := listed(environment.get(name, "")):
            return "0" if restarts or name == "ASCEND_RT_VISIBLE_DEVICES" else numbers[0]
    if restarts:
        return "0"
    if numbers := listed(ask() or ""):
        return numbers[0]
    raise UserError(f"the job was given no device that it can see: none of {', '.join(DEVICES)} names one, nor does the scheduler; "
                    "docs/slurm.md tells what the administrator sets up")


def listed(words: str) -> list[str]:
    """Return the numbers of a device list: 3; 1,3; 0-2; Ascend310P-0; npu:1(IDX:1,3). A bare count such as npu:1 lists nothing."""
    if index := re.search(r"\(IDX:([\d,-]+)\)", words):
        words = index[1]
    numbers: list[str] = []
    for word in words.split(","):
        if match := re.fullmatch(r"\s*(?:[A-Za-z][A-Za-z0-9]*-)?(\d+)(?:-(\d+))?\s*", word):
            numbers += map(str, range(int(match[1]), int(match[2] or match[1]) + 1))
    return numbers
