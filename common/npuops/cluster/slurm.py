"""Slurm: one array a group, afterok and aftercorr between them, a generic resource for the NPU. docs/slurm.md is its manual."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from npukit.errors import JobFailed, Unavailable, UserError
from npukit.files import read_json, write_json
from npuops.cluster import records, render
from npuops.cluster.plan import Group, Plan, Task

ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED")


def indices(group: Group) -> str | None:
    """Return the indices of a group's array, its batch sizes; None for a group of one job that has none."""
    return ",".join(str(task.batch_size) for task in group.tasks) if group.tasks[0].batch_size else None


def own_name() -> str:
    """Return this job as scontrol knows it; the plain number of an array's last task would mean the whole array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def show(job: str, *flags: str) -> str:
    return call("scontrol", "show", "job", *flags, job).stdout


def call(program: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run one of Slurm's programs; UserError where it is not installed."""
    try:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise UserError(f"{program} is missing; CLUSTER=slurm submits from a machine with Slurm's commands, such as a login node") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{program} did not answer within 120 s") from None


class Slurm:
    """One submission to Slurm."""

    PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel")
    numbers_restart = False  # a job sees the node's own device numbers

    def __init__(self, plan: Plan):
        self.plan = plan

    # The texts

    def job_texts(self) -> dict[str, str]:
        """Return the job texts by file name, in the order in which they are submitted."""
        return {f"{group.name}.sbatch": self.job_text(group) for group in self.plan.groups}

    def job_text(self, group: Group) -> str:
        site, slurm, npus = self.plan.site, self.plan.site.slurm, self.plan.npus(group)
        array = indices(group) and indices(group) + (f"%{group.at_once}" if group.at_once else "")
        options = {
            "job-name": f"npukit-{self.plan.id}-{group.name}", "partition": (slurm.npu_partition if npus else None)
            or slurm.partition,
            "account": slurm.account, "qos": slurm.qos, "array": array, "cpus-per-task": site.cpus[group.kind],
            "mem": f"{self.plan.memory(group)}G", "gres": f"{slurm.gres}:{npus}" if npus else None,
            "time": site.minutes[group.kind],
            "signal": f"TERM@{site.grace}", "chdir": self.plan.root, "output": self.log(group)}
        return render.sbatch(
            title=f"npukit {self.plan.id}: {group.name}, {', '.join(group.tasks[0].goals) or 'the table of results'}",
            options=options,
            modules=slurm.modules, library=f"{self.plan.root}/common",
            python=f"{self.plan.variables['VENV']}/bin/python",
            plan=f"{self.plan.folder}/plan.json", group=group.name)

    def log(self, group: Group) -> str:
        """Return the file that a group's jobs print to; a per cent sign in a path is no pattern."""
        return f"{self.plan.folder}/logs/{group.name}".replace("%", "%%") + ("-bs%a.log" if indices(group) else ".log")

    def dependency(self, group: Group, jobs: dict[str, str]) -> str | None:
        """Return what a group waits for, with the job ids of the groups before it."""
        words = []
        if group.after:
            words.append(f"{'afterok' if group.kind == 'compile' else 'aftercorr'}:{jobs[group.after]}")
        if group.turn:
            words.append(f"afterany:{jobs[group.turn]}")
        if group.kind == "table":
            words += [f"afterany:{jobs[other.name]}" for other in self.plan.groups if other.kind == "report"]
        return ",".join(words) or None

    def steps(self) -> list[str]:
        """Return the commands of a submission as a person reads them, <group> in the place of its job id."""
        names = {group.name: f"<{group.name}>" for group in self.plan.groups}
        depends = {group.name: self.dependency(group, names) for group in self.plan.groups}
        return [" ".join(["sbatch", *([f"--dependency={depends[name]}"] if depends[name] else []), f"{name}.sbatch"])
                for name in names]

    # Submitting, asking, cancelling

    def submit(self) -> None:
        """Submit every group; if one is refused, those before it are cancelled and UserError says what Slurm said."""
        jobs: dict[str, str] = {}
        place = Path(self.plan.folder)
        for group in self.plan.groups:
            depends = self.dependency(group, jobs)
            done = call("sbatch", "--parsable", *([f"--dependency={depends}"] if depends else []),
                        str(place / f"{group.name}.sbatch"))
            if done.returncode != 0:
                if jobs:
                    call("scancel", *jobs.values())
                why = done.stderr.strip().splitlines()[-1]
                raise UserError(f"Slurm refuses {group.name}: {why}; nothing of this submission is left in the queue")
            jobs[group.name] = done.stdout.strip().split(";")[0]
            write_json(place / "jobs.json", jobs)

    def submitted(self) -> dict[str, str]:
        """Return the job id of each group."""
        path = Path(self.plan.folder) / "jobs.json"
        return read_json(path) if path.exists() else {}

    def states(self) -> dict[str, str]:
        """Return what Slurm says of each task that it still has in its queue."""
        jobs = self.submitted()
        groups = {job: self.plan.group(name) for name, job in jobs.items()}
        if not jobs:
            return {}
        done = call("squeue", "--noheader", "--array", f"--jobs={','.join(jobs.values())}", "--format=%F|%K|%T|%r|%N")
        if done.returncode != 0 and "Invalid job id" not in done.stderr:
            raise Unavailable(f"squeue does not answer: {done.stderr.strip()}")
        found = {}
        for line in done.stdout.splitlines():
            job, index, state, reason, node = line.split("|")
            task = next((t for t in groups[job].tasks if index in ("N/A", str(t.batch_size))), None)
            if task is not None and state in ALIVE:
                words = {"RUNNING": f"running on {node}", "PENDING": f"waiting: {reason}"}
                found[task.name] = words.get(state, state.lower())
        return found

    def last_word(self, task: Task) -> str:
        """Return how Slurm says that a task ended which left no word itself; empty where Slurm has forgotten it."""
        for line in show(self.job_id(task)).splitlines():
            if state := re.search(r"\bJobState=(\S+) Reason=(\S+)", line):
                return f"{state[1].lower()}" + ("" if state[2] == "None" else f", {state[2]}")
        return ""

    def job_id(self, task: Task) -> str:
        job = self.submitted().get(self.plan.group_of(task).name, "")
        return f"{job}_{task.batch_size}" if task.batch_size else job

    def cancel(self) -> None:
        """Cancel the jobs of this submission, by id."""
        if jobs := self.submitted():
            done = call("scancel", *jobs.values())
            if done.returncode != 0 and "Invalid job id" not in done.stderr:
                raise Unavailable(f"scancel: {done.stderr.strip()}")

    def fetch(self) -> None:
        """The results are on the shared file system already."""

    # Inside a job

    def own_name(self) -> str:
        return own_name()

    def devices(self) -> str | None:
        """Return the indices of a generic resource without a plugin, which sets no variable: `GRES=npu:1(IDX:1)` of scontrol."""
        found = re.search(r"\bGRES=(\S*\(IDX:[\d,-]+\))", show(own_name(), "--details"))
        return found and found[1]

    def ended(self, task: Task, code: int) -> int:
        """Say how a task's step ended and return the job's exit code; after a failure of the infrastructure it is queued again, elsewhere.

        code  of srun: only what the task has written itself counts as done or failed, whatever ended the step
        """
        record = records.read(self.plan, task.name) or records.begin(self.plan, task, own_name(), None)
        if record["state"] in records.FINAL:
            return record["code"]
        attempts = max(len(record["attempts"]), int(os.environ.get("SLURM_RESTART_COUNT", 0)) + 1)
        if records.cancelled(self.plan).exists() or "JobState=CANCELLED" in show(own_name()):
            return records.end(self.plan, record, "cancelled", 1, "cancelled")["code"]
        reason = record["reason"] or f"its step ended with {code}"
        if attempts > self.plan.site.retries:
            print(f"npukit job: {task.name} failed: {reason}; given up after {attempts} attempts")
            return records.end(self.plan, record, "failed", 1, f"{reason}; given up after {attempts} attempts")["code"]
        records.end(self.plan, record, "interrupted", 75, reason)
        print(f"npukit job: {task.name} is queued again after {attempts} of {self.plan.site.retries + 1} attempts: {reason}", flush=True)
        return self.requeue()

    def requeue(self) -> int:
        """Put this job back into the queue, without this node if there are others; Slurm ends the job while this runs."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        name, node = own_name(), os.environ.get("SLURMD_NODENAME", "")
        done = call("scontrol", "requeue", name)
        if done.returncode != 0:
            raise JobFailed(f"Slurm does not take the job back: {done.stderr.strip()}")
        partition = os.environ.get("SLURM_JOB_PARTITION", "")
        nodes = call("sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N").stdout.split()
        excluded = re.search(r"\bExcNodeList=(\S+)", show(name))
        avoided = {node, *(excluded[1].split(",") if excluded and excluded[1] != "(null)" else [])} - {""}
        if set(nodes) - avoided:
            call("scontrol", "update", f"JobId={name}", f"ExcNodeList={','.join(sorted(avoided))}")
        time.sleep(60)  # until Slurm's SIGKILL: an exit code would be taken for the job's
        return 75

    def finish(self, task: Task) -> None:
        """Slurm itself knows what waits for a task."""
