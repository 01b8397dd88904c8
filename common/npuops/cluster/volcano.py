"""Volcano: a JobFlow of batch.volcano.sh/v1alpha1 jobs, one a task, in a queue. docs/volcano.md is its manual.

The order is the JobFlow's: a job begins when those it depends on are Completed.
(dependsOn between the tasks of one job is not enough: it waits for their pods to be ready, not to have succeeded.
source: volcano, pkg/controllers/job/job_controller_actions.go, isDependsOnPodsReady;
pkg/controllers/jobflow/jobflow_controller_action.go, judge.)
MAX_NPUS becomes the capability of a queue of the submission's own.
"""
from npuops.cluster.plan import Group, Task
from npuops.cluster.pods import Pods
from npuops.cluster.render import given

POLICIES = [{"event": "PodEvicted", "action": "RestartJob"},
            *({"exitCode": code, "action": "RestartJob"} for code in (75, 137, 143)),
            *({"exitCode": code, "action": "AbortJob"} for code in (1, 2))]


class Volcano(Pods):
    """One submission to Volcano."""

    def kinds(self) -> str:
        queue = ",queues.scheduling.volcano.sh" if self.plan.max_npus else ""
        return f"jobflows.flow.volcano.sh,jobtemplates.flow.volcano.sh{queue}"

    def manifests(self) -> dict[str, dict]:
        made = {}
        if self.plan.max_npus:
            made["queue.yaml"] = {
                "apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "Queue",
                "metadata": {"name": self.queue(), "labels": self.labels()},
                "spec": {"weight": 1, "reclaimable": True,
                         "capability": {self.plan.site.kubernetes.resource: self.plan.max_npus}}}
        made |= {f"{task.name}.yaml": self.job(group, task) for group in self.plan.groups for task in group.tasks}
        made["flow.yaml"] = {
            "apiVersion": "flow.volcano.sh/v1alpha1", "kind": "JobFlow", "metadata": self.metadata(self.short()),
            "spec": {"jobRetainPolicy": "retain", "flows": [self.node(task) for task in self.plan.tasks()]}}
        return made

    def job(self, group: Group, task: Task) -> dict:
        """Return a task's JobTemplate."""
        site = self.plan.site
        pod = {"metadata": {"labels": self.pod_labels(group, task)}, "spec": self.pod(group, task)}
        return {
            "apiVersion": "flow.volcano.sh/v1alpha1", "kind": "JobTemplate",
            "metadata": self.metadata(self.name(task.name)),
            "spec": {"schedulerName": "volcano", "queue": self.queue(), "minAvailable": 1, "maxRetry": site.retries + 1,
                     "ttlSecondsAfterFinished": site.kubernetes.keep_seconds, "policies": POLICIES,
                     "tasks": [{"name": "task", "replicas": 1, "template": pod,
                                "policies": [{"event": "TaskCompleted", "action": "CompleteJob"}]}]}}

    def pod(self, group: Group, task: Task) -> dict:
        """Return a task's pod. Volcano's device plugin tells a pod its chip in an annotation."""
        site, here, container = self.plan.site, self.plan.site.kubernetes, self.container(group, task)
        if self.plan.npus(group):
            annotation = {"fieldRef": {"fieldPath": f"metadata.annotations['{here.resource}']"}}
            container["env"].append({"name": "ASCEND_VISIBLE_DEVICES", "valueFrom": annotation})
        return given(
            restartPolicy="Never", schedulerName="volcano", serviceAccountName=here.service_account,
            automountServiceAccountToken=False, activeDeadlineSeconds=site.minutes[group.kind] * 60,
            terminationGracePeriodSeconds=site.grace,
            nodeSelector=self.node_selector(group), securityContext=self.security(), containers=[container],
            volumes=self.volumes(group))

    def queue(self) -> str:
        return self.short() if self.plan.max_npus else self.plan.site.kubernetes.queue

    def node(self, task: Task) -> dict:
        """Return a task's node of the JobFlow: what must be Completed before."""
        targets = [self.name(other) for other in task.after]
        return given(name=self.name(task.name), dependsOn={"targets": targets} if targets else None)

    def name(self, of: str) -> str:
        """Return a task's name as DNS allows it, one in the whole namespace."""
        return f"{self.short()}-{of}".replace("_", "-")
