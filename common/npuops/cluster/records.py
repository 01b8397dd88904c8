"""What each task of a submission wrote about itself: <folder>/tasks/<task>.json, one writer each.

    {"task", "state", "code", "reason", "attempts": [{"state", "code", "reason", "host", "job", "device", "started", "ended"}]}

state    running; done; failed (the user's mistake, a missed bar, or tried too often); interrupted (to be tried again); cancelled;
         not run (a task before it has failed)
started, ended   seconds since 1970, ended None while it runs
"""
import socket
import time
from pathlib import Path

from npukit.files import read_json, write_json
from npuops.cluster.plan import Plan, Task

FINAL = ("done", "failed", "cancelled", "not run")


def place(plan: Plan, task: str) -> Path:
    return Path(plan.folder) / "tasks" / f"{task}.json"


def read(plan: Plan, task: str) -> dict | None:
    """Return a task's record, None where it has not begun."""
    path = place(plan, task)
    return read_json(path) if path.exists() else None


def begin(plan: Plan, task: Task, job: str, device: str | None) -> dict:
    """Write that a task runs here and now, and return its record; an attempt that ended without a word was interrupted."""
    record = read(plan, task.name) or {"task": task.name, "attempts": []}
    if record["attempts"] and record["attempts"][-1]["state"] == "running":
        record["attempts"][-1] |= {"state": "interrupted", "code": 75, "reason": "it ended without a word"}
    record["attempts"].append({"state": "running", "code": None, "reason": "", "host": socket.gethostname(), "job": job,
                               "device": device, "started": time.time(), "ended": None})
    return end(plan, record, "running")


def end(plan: Plan, record: dict, state: str, code: int | None = None, reason: str = "") -> dict:
    """Write a task's state, of its last attempt and of the whole, and return the record."""
    now = {"state": state, "code": code, "reason": reason}
    record["attempts"][-1] |= now | {"ended": None if state == "running" else time.time()}
    write_json(place(plan, record["task"]), record | now)
    return record | now


def cancelled(plan: Plan) -> Path:
    """Return the file whose presence says that the submission was cancelled: nothing of it is tried again."""
    return Path(plan.folder) / "cancelled"
