"""What every scheduler of Kubernetes shares: the pod of a task, its word, its reports. argo and volcano add the order.

What a task wrote about itself is also its container's last message, and the reports are in the log of the table's pod: `make jobs` and
`make collect` need no access to the volumes.
"""
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

from npukit.errors import Unavailable, UserError
from npukit.files import read_json, write_json
from npuops.cluster import records, render
from npuops.cluster.plan import Group, Plan, Task, dumped, report_file

MESSAGE = Path("/dev/termination-log")
MESSAGE_SIZE = 4096  # bytes that Kubernetes keeps of it
REPORT = "npukit-report "
SUBMISSION, TASK = "npukit/submission", "npukit/task"  # labels


class Pods:
    """One submission to a scheduler of Kubernetes."""

    PROGRAMS = ("kubectl",)
    numbers_restart = True  # a pod's one chip is its number 0, whichever it is on the node

    def __init__(self, plan: Plan):
        self.plan = plan

    # The texts

    def manifests(self) -> dict[str, dict]:
        """Return what the scheduler is given beside the plan: documents by file name."""
        raise NotImplementedError

    def kinds(self) -> str:
        """Return the kinds of these documents as kubectl names them."""
        raise NotImplementedError

    def job_texts(self) -> dict[str, str]:
        """Return the manifests by file name, a kustomize base."""
        if not self.plan.site.image:
            raise UserError(f"the site's profile names no image; CLUSTER={self.plan.cluster} needs image = \"registry/npukit-cann:tag\"")
        documents = {"plan.yaml": self.config_map()} | self.manifests()
        base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(documents)}
        return {name: render.manifest(document) for name, document in ({"kustomization.yaml": base} | documents).items()}

    def config_map(self) -> dict:
        """Return what the pods read: the plan with the places of the image, and how many NPUs may be held at a time."""
        code, limit = self.plan.site.kubernetes.code, self.plan.max_npus
        variables = self.plan.variables | {"DATA": f"{code}/data", "OUT_ROOT": f"{code}/out", "VENV": ""}
        inside = replace(self.plan, root=code, folder=f"{code}/out/jobs/{self.plan.id}", variables=variables,
                         site=replace(self.plan.site, engine="none"))
        data = render.given(**{"plan.json": dumped(inside, indent=None), "max_npus": str(limit) if limit else None})
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(self.short()), "immutable": True, "data": data}

    def metadata(self, name: str) -> dict:
        return {"name": name, "namespace": self.plan.site.kubernetes.namespace, "labels": self.labels()}

    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": "npukit", SUBMISSION: self.plan.id}

    def pod_labels(self, group: Group, task: Task) -> dict[str, str]:
        return self.labels() | {TASK: task.name} | (self.plan.site.kubernetes.labels if self.plan.npus(group) else {})

    def container(self, group: Group, task: Task) -> dict:
        """Return a task's container: the job, its resources, its mounts. An NPU is asked for by infer steps alone."""
        here, npus = self.plan.site.kubernetes, self.plan.npus(group)
        resources = {"cpu": str(self.plan.site.cpus[group.kind]), "memory": f"{self.plan.memory(group)}Gi"}
        resources |= {here.resource: npus} if npus else {}
        mounts = [{"name": "plan", "mountPath": "/etc/npukit", "readOnly": True},
                  {"name": "out", "mountPath": f"{here.code}/out"}, {"name": "scratch", "mountPath": "/tmp"}]
        if here.data_claim:
            mounts.append({"name": "data", "mountPath": f"{here.code}/data", "readOnly": not (here.mirror and group.kind == "prepare")})
        mounts += [{"name": name, "mountPath": path, "readOnly": True} for name, path in self.host_paths(group).items()]
        return {
            "name": "main", "image": self.plan.site.image, "workingDir": "/tmp",
            "args": [here.python, "-m", "npuops", "cluster", "job", "--plan", "/etc/npukit/plan.json", "--task", task.name],
            "env": [{"name": "PYTHONPATH", "value": f"{here.code}/common"}],
            "resources": {"requests": resources, "limits": resources}, "volumeMounts": mounts,
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}}

    def volumes(self, group: Group) -> list[dict]:
        here = self.plan.site.kubernetes
        claims = {"out": here.out_claim} | ({"data": here.data_claim} if here.data_claim else {})
        return [{"name": "plan", "configMap": {"name": self.short()}}, {"name": "scratch", "emptyDir": {"sizeLimit": here.scratch}},
                *({"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in claims.items()),
                *({"name": name, "hostPath": {"path": path}} for name, path in self.host_paths(group).items())]

    def host_paths(self, group: Group) -> dict[str, str]:
        paths = self.plan.site.kubernetes.host_paths if self.plan.npus(group) else []
        return {f"host-{number}": path for number, path in enumerate(paths)}

    def node_selector(self, group: Group) -> dict[str, str] | None:
        return self.plan.site.kubernetes.node_selector if self.plan.npus(group) else None

    def security(self) -> dict:
        """Return whom a pod runs as: a user without rights."""
        here = self.plan.site.kubernetes
        return {"runAsNonRoot": True, "runAsUser": here.user, "runAsGroup": here.group, "fsGroup": here.group,
                "seccompProfile": {"type": "RuntimeDefault"}}

    def short(self) -> str:
        """Return the submission's name in the cluster; names and labels end at 63 characters."""
        return f"npukit-{self.plan.id.rpartition('-')[2]}"

    def steps(self) -> list[str]:
        return [f"kubectl apply --namespace {self.plan.site.kubernetes.namespace} --kustomize <the folder of these manifests>"]

    # Submitting, asking, cancelling

    def submit(self) -> None:
        self.require_answer()
        done = self.kubectl("apply", "--kustomize", self.plan.folder)
        if done.returncode != 0:
            self.kubectl("delete", "--ignore-not-found", "--kustomize", self.plan.folder)
            raise UserError(f"Kubernetes refuses the jobs: {done.stderr.strip()}; nothing of this submission is left there")

    def require_answer(self) -> None:
        if '"serverVersion"' not in self.kubectl("version", "--output=json").stdout:
            raise UserError("the cluster does not answer; is there a context of kubectl's, and does it reach the cluster?")

    def asked(self, *words: str) -> str:
        """Return what kubectl prints; where it fails, one sentence: no cluster is the user's to mend."""
        done = self.kubectl(*words)
        if done.returncode != 0:
            self.require_answer()
            raise Unavailable(f"kubectl {words[0]} fails: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
        return done.stdout

    def pods(self) -> list[dict]:
        """Return the pods of a submission, the oldest first."""
        items = json.loads(self.asked("get", "pods", f"--selector={SUBMISSION}={self.plan.id}", "--output=json"))["items"]
        return sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])

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
            raise UserError(f"kubectl is missing; CLUSTER={self.plan.cluster} wants a machine that has it and a context") from None
        except subprocess.TimeoutExpired:
            raise Unavailable("kubectl did not answer within 120 s") from None

    # Inside a pod

    def own_name(self) -> str:
        return os.environ.get("HOSTNAME", "")

    def devices(self) -> str | None:
        return None

    def finish(self, task: Task) -> None:
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
