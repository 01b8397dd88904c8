"""Argo Workflows: one Workflow of argoproj.io/v1alpha1 whose DAG tasks are the plan's. docs/argo.md is its manual.

A task begins when those before it have succeeded, the table when every report has ended, well or not.
MAX_NPUS is a semaphore of the submission's own, in its ConfigMap: an infer task takes a permit and gives it back
when it has ended.
"""
from npukit.errors import UserError
from npuops.cluster.plan import Group, Task
from npuops.cluster.pods import Pods
from npuops.cluster.render import given, manifest

# Argo starts the container's command itself, and would have to ask the registry for it. source: docker/Dockerfile
ENTRYPOINT = ["bash", "/usr/local/bin/npukit-entrypoint"]
# 75 asks for another attempt, 137 and 143 are killed; -1 is a pod without an exit code, such as an evicted one.
AGAIN = "lastRetry.status == 'Error' || lastRetry.exitCode in ['-1', '75', '137', '143']"
ENDED = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted")


class Argo(Pods):
    """One submission to Argo Workflows."""

    def kinds(self) -> str:
        return "workflows.argoproj.io"

    def manifests(self) -> dict[str, dict]:
        here = self.plan.site.kubernetes
        jobs = [self.template(group, task) for group in self.plan.groups for task in group.tasks]
        graph = {"name": "graph", "dag": {"failFast": False, "tasks": [self.node(task) for task in self.plan.tasks()]}}
        workflow = {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": self.metadata(self.short()),
            "spec": {"entrypoint": "graph", "serviceAccountName": here.service_account,
                     "securityContext": self.security(), "ttlStrategy": {"secondsAfterCompletion": here.keep_seconds},
                     "templates": [graph, *jobs]}}
        if "{{" in manifest(workflow):
            raise UserError("a value of the site's profile has '{{', which Argo Workflows would replace; "
                            "no name or path of a job may")
        return {"workflow.yaml": workflow}

    def template(self, group: Group, task: Task) -> dict:
        """Return what a task runs, with what it asks for."""
        site = self.plan.site
        permit = {"semaphores": [{"configMapKeyRef": {"name": self.short(), "key": "max_npus"}}]}
        return given(
            name=name(task.name), metadata={"labels": self.pod_labels(group, task)},
            container=self.container(group, task) | {"command": ENTRYPOINT}, volumes=self.volumes(group),
            nodeSelector=self.node_selector(group), activeDeadlineSeconds=site.minutes[group.kind] * 60,
            podSpecPatch=f'{{"terminationGracePeriodSeconds": {site.grace}}}',
            retryStrategy={"limit": site.retries, "retryPolicy": "Always", "expression": AGAIN},
            synchronization=permit if self.plan.max_npus and self.plan.npus(group) else None)

    def node(self, task: Task) -> dict:
        """Return a task's node of the DAG: what it waits for."""
        before = [f"{name(other)}.Succeeded" for other in task.after]
        if not task.goals:  # the table is made of what there is
            before = ["(" + " || ".join(f"{name(other)}.{end}" for end in ENDED) + ")" for other in task.after]
        return given(name=name(task.name), template=name(task.name), depends=" && ".join(before) or None)


def name(of: str) -> str:
    """Return a task's name as Argo allows it."""
    return of.replace("_", "-")
