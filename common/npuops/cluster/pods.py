"""The pod of a task, for every scheduler of Kubernetes; argo and volcano add the order."""
from dataclasses import replace

from npukit.errors import UserError
from npuops.cluster import render
from npuops.cluster.kubectl import SUBMISSION, TASK, Kubectl
from npuops.cluster.plan import Group, Task, dumped


class Pods(Kubectl):
    """One submission to a scheduler of Kubernetes, and its texts."""

    def manifests(self) -> dict[str, dict]:
        """Return what the scheduler is given beside the plan: documents by file name."""
        raise NotImplementedError

    def job_texts(self) -> dict[str, str]:
        """Return the manifests by file name, a kustomize base."""
        if not self.plan.site.image:
            raise UserError(f"the site's profile names no image; CLUSTER={self.plan.cluster} needs "
                            "image = \"registry/npukit-cann:tag\"")
        documents = {"plan.yaml": self.config_map()} | self.manifests()
        base = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(documents)}
        documents = {"kustomization.yaml": base} | documents
        return {name: render.manifest(document) for name, document in documents.items()}

    def config_map(self) -> dict:
        """Return what the pods read: the plan with the places of the image, and how many NPUs may be held at a time."""
        code, limit = self.plan.site.kubernetes.code, self.plan.max_npus
        variables = self.plan.variables | {"DATA": f"{code}/data", "OUT_ROOT": f"{code}/out", "VENV": ""}
        inside = replace(self.plan, root=code, folder=f"{code}/out/jobs/{self.plan.id}", variables=variables,
                         site=replace(self.plan.site, engine="none"))
        data = render.given(**{"plan.json": dumped(inside, indent=None), "max_npus": str(limit) if limit else None})
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(self.short()), "immutable": True,
                "data": data}

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
            fetches = here.mirror and group.kind == "prepare"
            mounts.append({"name": "data", "mountPath": f"{here.code}/data", "readOnly": not fetches})
        mounts += [{"name": name, "mountPath": path, "readOnly": True} for name, path in self.host_paths(group).items()]
        return {
            "name": "main", "image": self.plan.site.image, "workingDir": "/tmp",
            "args": [here.python, "-m", "npuops", "cluster", "job",
                     "--plan", "/etc/npukit/plan.json", "--task", task.name],
            "env": [{"name": "PYTHONPATH", "value": f"{here.code}/common"}],
            "resources": {"requests": resources, "limits": resources}, "volumeMounts": mounts,
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]}}}

    def volumes(self, group: Group) -> list[dict]:
        here = self.plan.site.kubernetes
        claims = {"out": here.out_claim} | ({"data": here.data_claim} if here.data_claim else {})
        return [{"name": "plan", "configMap": {"name": self.short()}},
                {"name": "scratch", "emptyDir": {"sizeLimit": here.scratch}},
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
        namespace = self.plan.site.kubernetes.namespace
        return [f"kubectl apply --namespace {namespace} --kustomize <the folder of these manifests>"]
