"""Volcano: a JobFlow of batch.volcano.sh/v1alpha1 jobs, one a task, in a queue. docs/volcano.md is its manual.

The order is the JobFlow's: a job begins when those it depends on are Completed. (dependsOn between the tasks of one job is not enough:
it waits for their pods to be ready, not to have succeeded. source: volcano, pkg/controllers/job/job_controller_actions.go,
isDependsOnPodsReady; pkg/controllers/jobflow/jobflow_controller_action.go, judge.) MAX_NPUS becomes the capability of a queue of the
submission's own.
"""
from npukit.errors import Unavailable
from npuops.cluster import texts
from npuops.cluster.kubernetes import LABEL, Kubernetes
from npuops.cluster.plan import Group, Task


class Volcano(Kubernetes):
    """One submission to Volcano; its pods, records and reports are as without it."""

    def job_texts(self) -> dict[str, str]:
        """Return the manifests by file name, a kustomize base."""
        plan, made = self.plan, {"plan.yaml": self.plan_text()}
        if plan.max_npus:
            made["queue.yaml"] = texts.fill("volcano/queue.yaml", {
                "title": f"npukit {plan.id}: never more than {plan.max_npus} NPUs", "name": self.queue(), "labels": self.labels(),
                "capability": {plan.site.kubernetes.resource: plan.max_npus}})
        made |= {f"{task.name}.yaml": texts.fill("volcano/jobtemplate.yaml", self.job_of(group, index))
                 for group in plan.groups for index, task in enumerate(group.tasks)}
        made["flow.yaml"] = texts.fill("volcano/jobflow.yaml", {
            "title": f"npukit {plan.id}: what waits for what", "name": self.short(), "namespace": plan.site.kubernetes.namespace,
            "labels": self.labels(), "flow": texts.Each(map(self.flow, plan.tasks()))})
        return self.base(made)

    def job_of(self, group: Group, index: int) -> dict:
        """Return the values of a task's job."""
        return self.pod(group, index, "volcano") | {
            "name": self.name(group.tasks[index].name), "queue": self.queue(), "retries": self.plan.site.retries + 1}

    def queue(self) -> str:
        return self.short() if self.plan.max_npus else self.plan.site.kubernetes.queue

    def flow(self, task: Task) -> dict:
        """Return a node of the JobFlow: a task, and those that must be Completed before."""
        targets = [self.name(other) for other in task.after]
        return {"name": self.name(task.name)} | ({"dependsOn": {"targets": targets}} if targets else {})

    def cancel(self) -> None:
        """Delete what this submission made, by its label; the jobs go with the JobFlow that owns them."""
        kinds = "jobflows.flow.volcano.sh,jobtemplates.flow.volcano.sh,configmaps"
        kinds += ",queues.scheduling.volcano.sh" if self.plan.max_npus else ""
        done = self.kubectl("delete", kinds, f"--selector={LABEL}={self.plan.id}", "--wait=false")
        if done.returncode != 0:
            raise Unavailable(f"kubectl: {done.stderr.strip()}")

    def finish(self, task: Task) -> None:
        """Leave the task's last word where Kubernetes keeps it; the JobFlow itself knows what waits for it."""
        self.leave_word(task)
