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
import threading

from npukit.cluster import records
from npukit.cluster.plan import Plan, Task
from npukit.errors import UserError

# Where a job's environment may name its devices, in the order in which it is asked.
DEVICES = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_JOB_GRES", "NPU_DEVICE_ORDINAL", "ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
FAILED = re.compile(r"^make(?:\[\d+\])?: \*\*\* \[.*\] (?:Error (\d+)|[A-Z].*)$")
REFUSED = re.compile(r"^\S+: \*\*\* (.*?)\.?  Stop\.$")
PATIENCE = 20  # seconds between SIGTERM and SIGKILL for the stage at hand; Slurm's own KillWait is 30


def run(plan: Plan, task: Task, job: str, device: str | None) -> int:
    """Run a task, write its record, and return the exit code of the house; 75 asks for another attempt.

    job     the scheduler's name for the job, for the record
    device  the NPU that an infer task runs on
    """
    record = records.begin(plan, task, job, device)
    if problem := unmet(plan, task):
        return ended(plan, record, *problem)
    code, reason = watch(command(plan, task, device), plan)
    if code == 75 and len(record["attempts"]) > plan.site.retries:
        code, reason = 1, f"{reason}; given up after {len(record['attempts'])} attempts"
    return ended(plan, record, code, reason)


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


def command(plan: Plan, task: Task, device: str | None) -> list[str]:
    """Return the front door's command line; with apptainer all of it runs in the image, with docker or podman what it starts."""
    site = plan.site
    if not task.goals:
        return [sys.executable, "-m", "npukit", "cluster", "collect", "--plan", f"{plan.folder}/plan.json"]
    engine = "none" if site.engine == "apptainer" else site.engine
    settings = plan.variables | {"MODEL": task.model, "ENGINE": engine, "JOB": "1"}
    settings |= {"BS": str(task.batch_size)} if task.batch_size else {}
    settings |= {"DEVICE": device} if device is not None else {}
    make = ["make", "-C", plan.root, *(f"{name}={value}" for name, value in settings.items() if value), *task.goals]
    if site.engine != "apptainer":
        return make
    binds = [f"--bind={path}" for path in (plan.root, plan.variables["DATA"], plan.variables["OUT_ROOT"])]
    return ["apptainer", "exec", *binds, site.image, *make]


def watch(line: list[str], plan: Plan) -> tuple[int, str]:
    """Run a command in a session of its own, print what it prints, and return its meaning: code of the house and reason.

    SIGTERM ends it, and what it started; whatever came of it then counts as interrupted, unless it ended well.
    """
    environment = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    for name in ("LANGUAGE", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               text=True, errors="replace", start_new_session=True)
    caught = []

    def stop(number, frame) -> None:
        caught.append(signal.Signals(number).name)
        signal_group(process.pid, signal.SIGTERM)
        killer = threading.Timer(PATIENCE, signal_group, (process.pid, signal.SIGKILL))
        killer.daemon = True
        killer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    verdict = meaning(echoed(process.stdout))
    status = process.wait()
    if status == 0:
        return 0, ""
    if caught:
        return 75, f"ended by {caught[0]}, the stages that were done are kept"
    if verdict:
        return verdict
    return (75, "make was killed") if status < 0 else (status if status in (1, 2, 75) else 1, f"{line[0]} exited with {status}")


def signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def echoed(lines):
    """Yield the lines as they come, each printed first."""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        yield line.rstrip("\n")


def meaning(lines) -> tuple[int, str] | None:
    """Return code and reason of the first failure in what make printed, None where there is none.

    The reason is the last line that a stage printed before; the innermost make is the first to say that its command failed.
    """
    said, verdict = "", None
    for line in lines:
        if verdict is None and (failed := FAILED.match(line)):
            code = int(failed[1]) if failed[1] else 137  # Killed, Terminated
            verdict = (75 if code > 128 and code < 160 else code if code in (2, 75) else 1), said
        elif verdict is None and (refused := REFUSED.match(line)):
            verdict = 2, refused[1]
        elif line.strip() and not line.startswith("make"):
            said = line.strip()
    return verdict


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
