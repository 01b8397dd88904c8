"""A submission to a scheduler of Kubernetes, by kubectl: submit, ask, cancel; and what a task's pod leaves behind.

What a task wrote about itself is also its container's last message, and the reports are in the log of the table's pod:
`make jobs` and `make collect` need no access to the volumes.
"""
import json
import os
import subprocess
from pathlib import Path

from npukit.errors import Unavailable, UserError
from npukit.files import read_json, write_json
from npuops.cluster import records
from npuops.cluster.plan import Plan, Task, report_file

MESSAGE = Path("/dev/termination-log")
MESSAGE_SIZE = 4096  # bytes that Kubernetes keeps of it
REPORT = "npukit-report "
SUBMISSION, TASK = "npukit/submission", "npukit/task"  # labels


class Kubectl:
    """One submission, as kubectl sees it."""

    PROGRAMS = ("kubectl",)
    numbers_restart = True  # a pod's one chip is its number 0, whichever it is on the node

    def __init__(self, plan: Plan):
        self.plan = plan

    def kinds(self) -> str:
        """Return the kinds of what was submitted beside the ConfigMap, as kubectl names them."""
        raise NotImplementedError

    def submit(self) -> None:
        self.require_answer()
        done = self.kubectl("apply", "--kustomize", self.plan.folder)
        if done.returncode != 0:
            self.kubectl("delete", "--ignore-not-found", "--kustomize", self.plan.folder)
            raise UserError(f"Kubernetes refuses the jobs: {done.stderr.strip()}; "
                            "nothing of this submission is left there")

    def require_answer(self) -> None:
        if '"serverVersion"' not in self.kubectl("version", "--output=json").stdout:
            raise UserError("the cluster does not answer; is there a context of kubectl's, "
                            "and does it reach the cluster?")

    def asked(self, *words: str) -> str:
        """Return what kubectl prints; where it fails, one sentence: no cluster is the user's to mend."""
        done = self.kubectl(*words)
        if done.returncode != 0:
            self.require_answer()
            said = done.stderr.strip().splitlines() or ["it says nothing"]
            raise Unavailable(f"kubectl {words[0]} fails: {said[-1]}")
        return done.stdout

    def pods(self) -> list[dict]:
        """Return the pods of a submission, the oldest first."""
        said = self.asked("get", "pods", f"--selector={SUBMISSION}={self.plan.id}", "--output=json")
        return sorted(json.loads(said)["items"], key=lambda item: item["metadata"]["creationTimestamp"])

    def states(self) -> dict[str, str]:
        """Return what Kubernetes says of each task: where its newest pod is, or that it has none yet."""
        found = {task.name: "waiting: for its turn" for task in self.plan.tasks()}
        for item in self.pods():
            phase, task = item["status"].get("phase"), item["metadata"]["labels"][TASK]
            if phase == "Running":
                found[task] = f"running on {item['spec'].get('nodeName', '?')}"
            elif phase == "Pending":
                said = [c.get("message") for c in item["status"].get("conditions", ()) if c["status"] == "False"]
                found[task] = f"waiting: {next(filter(None, said), 'for a node')}"
        return found

    def last_word(self, task: Task) -> str:
        return ""

    def cancel(self) -> None:
        """Delete what this submission made, by its label; the pods go with what owns them."""
        self.asked("delete", f"{self.kinds()},configmaps", f"--selector={SUBMISSION}={self.plan.id}", "--wait=false")

    def fetch(self) -> None:
        """Bring records and reports from the cluster: each task's last message, and the log of the table."""
        for item in self.pods():
            for status in item["status"].get("containerStatuses", ()):
                message = status.get("state", {}).get("terminated", {}).get("message", "")
                if message.startswith('{"task"'):
                    record = json.loads(message)
                    write_json(records.place(self.plan, record["task"]), record)
            if item["metadata"]["labels"][TASK] == "table" and item["status"].get("phase") in ("Succeeded", "Failed"):
                for line in self.kubectl("logs", item["metadata"]["name"], "--container=main").stdout.splitlines():
                    if line.startswith(REPORT):
                        report = json.loads(line.removeprefix(REPORT))
                        write_json(report_file(self.plan, report["model"], report["batch_size"]), report)

    def kubectl(self, verb: str, *arguments: str) -> subprocess.CompletedProcess:
        try:
            return subprocess.run(["kubectl", verb, f"--namespace={self.plan.site.kubernetes.namespace}", *arguments],
                                  capture_output=True, text=True, timeout=120)
        except FileNotFoundError:
            raise UserError(f"kubectl is missing; CLUSTER={self.plan.cluster} wants a machine that has it "
                            "and a context") from None
        except subprocess.TimeoutExpired:
            raise Unavailable("kubectl did not answer within 120 s") from None

    # Inside a pod

    def own_name(self) -> str:
        return os.environ.get("HOSTNAME", "")

    def devices(self) -> str | None:
        return None

    def finish(self, task: Task) -> None:
        """Write the record as the container's last message, as much as is kept, and the reports after the table."""
        record = records.read(self.plan, task.name)
        attempts = [attempt | {"reason": attempt["reason"][:200]} for attempt in record["attempts"][-4:]]
        text = json.dumps(record | {"attempts": attempts, "reason": record["reason"][:400]}, ensure_ascii=True)
        if MESSAGE.exists() and len(text) <= MESSAGE_SIZE:
            MESSAGE.write_text(text)
        for model, size in self.plan.runs() if task.name == "table" else ():
            path = report_file(self.plan, model, size)
            if path.exists():
                print(REPORT + json.dumps(read_json(path), ensure_ascii=False), flush=True)
