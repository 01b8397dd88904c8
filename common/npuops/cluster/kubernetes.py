"""Kubernetes without further parts: one indexed Job a group. docs/kubernetes.md is its manual.

A Job that waits for others is created suspended. Kubernetes has no order between Jobs; so the last task of a group resumes the groups
that waited for it (`finish`), with the right to patch Jobs and no other. What a task wrote about itself is also its container's last
message, and the reports are in the log of the table's Job: `make jobs` and `make collect` need no access to the volumes.
"""
import json
import os
import ssl
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

from npukit.errors import Unavailable, UserError
from npukit.files import read_json, write_json
from npuops.cluster import records, texts
from npuops.cluster.plan import Group, Plan, Task, dumped, report_file

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MESSAGE = Path("/dev/termination-log")
MESSAGE_SIZE = 4096  # bytes that Kubernetes keeps of it
REPORT = "npukit-report "
LABEL = "npukit/submission"



class Kubernetes:
    """One submission to Kubernetes."""

    PROGRAMS = ("kubectl",)
    numbers_restart = True  # a pod's one chip is its number 0, whichever it is on the node

    def __init__(self, plan: Plan):
        self.plan = plan

    # The texts

    def job_texts(self) -> dict[str, str]:
        """Return the manifests by file name, a kustomize base."""
        made = {f"{group.name}.yaml": texts.fill("kubernetes/job.yaml", self.job(group)) for group in self.plan.groups}
        return self.base({"plan.yaml": self.plan_text(), **made})

    def base(self, manifests: dict[str, str]) -> dict[str, str]:
        resources = texts.fill("kubernetes/kustomization.yaml", {"title": f"npukit {self.plan.id}", "resources": list(manifests)})
        return {"kustomization.yaml": resources, **manifests}

    def plan_text(self) -> str:
        return texts.fill("kubernetes/configmap.yaml", {
            "title": f"npukit {self.plan.id}: what the jobs read", "name": self.short(), "namespace": self.plan.site.kubernetes.namespace,
            "labels": self.labels(), "plan": texts.Block(dumped(self.inside()).splitlines())})

    def inside(self) -> Plan:
        """Return the plan as the pods see it, with the places of the image."""
        code = self.plan.site.kubernetes.code
        variables = self.plan.variables | {"DATA": f"{code}/data", "OUT_ROOT": f"{code}/out", "VENV": ""}
        return replace(self.plan, root=code, folder=f"{code}/out/jobs/{self.plan.id}", variables=variables,
                       site=replace(self.plan.site, engine="none"))

    def job(self, group: Group) -> dict:
        """Return the values of a group's Job."""
        many = len(group.tasks) > 1
        return self.pod(group, None) | {
            "name": self.name(group.name), "suspend": group.kind != "prepare", "completions": len(group.tasks),
            "at_once": group.at_once or len(group.tasks), "mistake": "FailIndex" if many else "FailJob"}

    def pod(self, group: Group, index: int | None, scheduler: str | None = None) -> dict:
        """Return the values of a pod, and those that its Job shares; index is None where the Job gives one."""
        site, here, npus = self.plan.site, self.plan.site.kubernetes, self.plan.npus(group)
        if not site.image:
            raise UserError("the site's profile names no image; CLUSTER=kubernetes and volcano need image = \"registry/npukit-cann:tag\"")
        resources = {"cpu": str(site.cpus[group.kind]), "memory": f"{self.plan.memory(group)}Gi"} | ({here.resource: npus} if npus else {})
        goals = ", ".join(group.tasks[0].goals) or "the table of results"
        mounts = [{"name": f"host-{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(here.host_paths)] if npus else []
        return {
            "title": f"npukit {self.plan.id}: {group.name}, {goals}", "namespace": here.namespace, "labels": self.labels(),
            "keep_seconds": here.keep_seconds, "pod_labels": self.labels() | (here.labels if npus else {}),
            "scheduler": scheduler, "service_account": here.service_account, "releases": scheduler is None,
            "seconds": site.minutes[group.kind] * 60, "grace": site.grace, "node_selector": here.node_selector if npus else None,
            "user": here.user, "user_group": here.group, "image": site.image, "python": here.python, "group": group.name,
            "index": "$(JOB_COMPLETION_INDEX)" if index is None else str(index), "library": f"{here.code}/common",
            "visible_devices": f"metadata.annotations['{here.resource}']" if scheduler and npus else None,
            "resources": resources, "data": f"{here.code}/data", "out": f"{here.code}/out", "scratch": here.scratch,
            "data_read_only": not (here.mirror and group.kind == "prepare"), "submission": self.short(),
            "data_claim": here.data_claim, "out_claim": here.out_claim, "host_mount": texts.Each(mounts),
            "host_volume": texts.Each({"name": mount["name"], "hostPath": {"path": mount["mountPath"]}} for mount in mounts)}

    def short(self) -> str:
        """Return the submission's name in the cluster; names and labels end at 63 characters."""
        return f"npukit-{self.plan.id.rpartition('-')[2]}"

    def name(self, of: str) -> str:
        """Return the name of a group or task as DNS allows it."""
        return f"{self.short()}-{of}".replace("_", "-")

    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": "npukit", LABEL: self.plan.id}

    def steps(self) -> list[str]:
        return [f"kubectl apply --namespace {self.plan.site.kubernetes.namespace} --kustomize <the folder of these manifests>"]

    # Submitting, asking, cancelling

    def submit(self) -> None:
        if '"serverVersion"' not in self.kubectl("version", "--output=json").stdout:
            raise UserError("the cluster does not answer; is there a context of kubectl's, and does it reach the cluster?")
        done = self.kubectl("apply", "--kustomize", self.plan.folder)
        if done.returncode != 0:
            self.kubectl("delete", "--ignore-not-found", "--kustomize", self.plan.folder)
            raise UserError(f"Kubernetes refuses the jobs: {done.stderr.strip()}; nothing of this submission is left there")

    def pods(self) -> list[dict]:
        """Return the pods of a submission, the oldest first."""
        done = self.kubectl("get", "pods", f"--selector={LABEL}={self.plan.id}", "--output=json")
        if done.returncode != 0:
            raise Unavailable(f"kubectl does not answer: {done.stderr.strip()}")
        return sorted(json.loads(done.stdout)["items"], key=lambda item: item["metadata"]["creationTimestamp"])

    def states(self) -> dict[str, str]:
        """Return what Kubernetes says of each task: where its newest pod is, or that it has none yet."""
        found = {task.name: "waiting: for its turn" for task in self.plan.tasks()}
        for item in self.pods():
            phase, task = item["status"].get("phase"), self.task_of(item)
            if phase == "Running":
                found[task.name] = f"running on {item['spec'].get('nodeName', '?')}"
            elif phase == "Pending":
                said = [c.get("message") for c in item["status"].get("conditions", ()) if c["status"] == "False"]
                found[task.name] = f"waiting: {next(filter(None, said), 'for a node')}"
        return found

    def task_of(self, item: dict) -> Task:
        """Return the task of a pod, as its arguments say."""
        container = item["spec"]["containers"][0]
        index = container["args"][container["args"].index("--index") + 1]
        if index.startswith("$"):
            index = item["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        return self.plan.group(container["args"][container["args"].index("--group") + 1]).tasks[int(index)]

    def last_word(self, task: Task) -> str:
        return ""

    def cancel(self) -> None:
        """Delete what this submission made, by its label."""
        done = self.kubectl("delete", "jobs,configmaps", f"--selector={LABEL}={self.plan.id}", "--wait=false")
        if done.returncode != 0:
            raise Unavailable(f"kubectl: {done.stderr.strip()}")

    def fetch(self) -> None:
        """Bring records and reports from the cluster: each task's last message, and the log of the table."""
        for item in self.pods():
            for status in item["status"].get("containerStatuses", ()):
                message = status.get("state", {}).get("terminated", {}).get("message", "")
                if message.startswith('{"task"'):
                    record = json.loads(message)
                    write_json(records.place(self.plan, record["task"]), record)
            if self.task_of(item).name == "table" and item["status"].get("phase") in ("Succeeded", "Failed"):
                for line in self.kubectl("logs", item["metadata"]["name"]).stdout.splitlines():
                    if line.startswith(REPORT):
                        report = json.loads(line.removeprefix(REPORT))
                        write_json(report_file(self.plan, report["model"], report["batch_size"]), report)

    def kubectl(self, verb: str, *arguments: str) -> subprocess.CompletedProcess:
        try:
            return subprocess.run(["kubectl", verb, f"--namespace={self.plan.site.kubernetes.namespace}", *arguments],
                                  capture_output=True, text=True, timeout=120)
        except FileNotFoundError:
            raise UserError("kubectl is missing; CLUSTER=kubernetes and volcano submit from a machine that has it and a context") from None
        except subprocess.TimeoutExpired:
            raise Unavailable("kubectl did not answer within 120 s") from None

    # Inside a pod

    def own_name(self) -> str:
        return os.environ.get("HOSTNAME", "")

    def devices(self) -> str | None:
        return None

    def pick(self, tasks: tuple[Task, ...], index: int) -> Task:
        return tasks[index]

    def finish(self, task: Task) -> None:
        """Leave the task's last word where Kubernetes keeps it, the reports in the log, and resume what waited for this task."""
        self.leave_word(task)
        if records.state(self.plan, task.name) in records.FINAL:
            for group in self.plan.groups:
                if group.kind != "prepare" and not self.begun(group) and self.ready(group):
                    self.resume(group)

    def leave_word(self, task: Task) -> None:
        """Write the record as the container's last message, as much of it as is kept, and the reports after the table."""
        record = records.read(self.plan, task.name)
        short_record = record | {"attempts": [attempt | {"reason": attempt["reason"][:200]} for attempt in record["attempts"][-4:]],
                                 "reason": record["reason"][:400]}
        text = json.dumps(short_record, ensure_ascii=True)
        if MESSAGE.exists() and len(text) <= MESSAGE_SIZE:
            MESSAGE.write_text(text)
        for model, size in self.plan.runs() if task.name == "table" else ():
            path = report_file(self.plan, model, size)
            if path.exists():
                print(REPORT + json.dumps(read_json(path), ensure_ascii=False), flush=True)

    def begun(self, group: Group) -> bool:
        return any(records.read(self.plan, task.name) for task in group.tasks)

    def settled(self, group: Group) -> bool:
        """Return whether every task of a group has ended for good, or never will begin."""
        ended = all(records.state(self.plan, task.name) in records.FINAL for task in group.tasks)
        return ended or (group.after is not None and self.settled(before := self.plan.group(group.after)) and not self.any_done(before))

    def any_done(self, group: Group) -> bool:
        return any(records.state(self.plan, task.name) == "done" for task in group.tasks)

    def ready(self, group: Group) -> bool:
        """Return whether nothing that a group waits for is still to come, and it has something to do."""
        if group.kind == "table":
            return all(self.settled(other) for other in self.plan.groups if other.kind == "report")
        before = group.after is None or (self.settled(self.plan.group(group.after)) and self.any_done(self.plan.group(group.after)))
        return before and (group.turn is None or self.settled(self.plan.group(group.turn)))

    def resume(self, group: Group) -> None:
        """Have a suspended Job go on; doing it twice is harmless. source: batch/v1 JobSpec.suspend, merge patch."""
        here = self.plan.site.kubernetes
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        request = urllib.request.Request(
            f"https://{f'[{host}]' if ':' in host else host}:{port}/apis/batch/v1/namespaces/{here.namespace}/jobs/{self.name(group.name)}",
            method="PATCH", data=b'{"spec":{"suspend":false}}', headers={
                "Content-Type": "application/merge-patch+json", "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"})
        try:
            with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))):
                pass
        except OSError as error:
            raise Unavailable(f"the job {self.name(group.name)} cannot be resumed: {error}; "
                              f"docs/kubernetes.md shows the role of the service account {here.service_account}") from None
