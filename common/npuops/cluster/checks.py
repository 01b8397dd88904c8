"""What the administrator must have set up, as a checklist of (what, whether it is so, how to mend it)."""
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from npuops.cluster.pods import Pods
from npuops.cluster.site import Site
from npuops.cluster.slurm import Slurm

Row = tuple[str, bool, str]
ANSWERS = "the cluster answers"  # where it does not, there is nothing more to ask


def rows(cluster: str, site: Site, chip: bool = True) -> list[Row]:
    """Return the checklist of a scheduler, for `make doctor CLUSTER=...`; what cannot be asked without its commands is left out.

    chip  whether jobs are to infer on a chip: without, nothing about NPUs is asked
    """
    programs, known = (Slurm.PROGRAMS, of_slurm) if cluster == "slurm" else (Pods.PROGRAMS, of_argo if cluster == "argo"
                                                                             else of_volcano)
    found = [(f"{program} is on PATH", shutil.which(program) is not None,
              f"run make where {cluster}'s commands are, such as a login node")
             for program in programs]
    for row in known(site, chip) if all(ok for _, ok, _ in found) else ():
        found.append(row)
        if row[0] == ANSWERS and not row[1]:
            break
    return found


def said(*command: str) -> str:
    """Return what a command prints, nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


# --- Slurm ---------------------------------------------------------------------------------------------------------------------------


def of_slurm(site: Site, chip: bool) -> Iterator[Row]:
    here, config = site.slurm, said("scontrol", "show", "config")
    yield ANSWERS, bool(config), "scontrol show config fails: is slurm.conf here, and slurmctld up?"
    settings = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in config.splitlines())}
    yield ("jobs may be queued again", settings.get("JobRequeue") == "1",
           "slurm.conf: JobRequeue=1; without it a failed node ends a job for good")
    limit = int("".join(filter(str.isdigit, settings.get("KillWait", "30"))) or 30)
    yield (f"KillWait ({limit} s) lets a stage end", limit >= 5, "slurm.conf: KillWait=30")
    for partition in dict.fromkeys(name for name in (here.partition, here.npu_partition if chip else None) if name):
        yield (f"partition {partition} is up",
               "up" in said("sinfo", "--noheader", f"--partition={partition}", "--format=%a").split(),
               f"sinfo does not show {partition} as up: is the name in the site's profile right?")
    if chip:
        yield from gres_of(site, settings.get("GresTypes", "").split(","))
    yield from image_of(site)


def gres_of(site: Site, types: list[str]) -> Iterator[Row]:
    """Yield what NPU jobs need: their generic resource, and nodes that offer it."""
    here = site.slurm
    yield f"GresTypes has {here.gres}", here.gres in types, f"slurm.conf: GresTypes={here.gres}"
    partition = here.npu_partition or here.partition
    gres = said("sinfo", "--noheader", *([f"--partition={partition}"] if partition else []), "--format=%G")
    yield (f"nodes offer {here.gres}", f"{here.gres}:" in gres,
           f"slurm.conf: NodeName=... Gres={here.gres}:8; gres.conf: AutoDetect=off and Name={here.gres} File=/dev/davinci[0-7]")


def image_of(site: Site) -> Iterator[Row]:
    if site.engine == "none":
        return
    yield (f"{site.engine} is here", shutil.which(site.engine) is not None,
           f"install {site.engine} on every node, or engine = \"none\" in the profile")
    if site.engine == "apptainer":
        yield f"{site.image} is here", Path(site.image).is_file(), "apptainer build it from the image's tarball on the shared file system"


# --- Argo Workflows, Volcano ---------------------------------------------------------------------------------------------------------


def of_argo(site: Site, chip: bool) -> Iterator[Row]:
    yield from of_kinds(("workflows.argoproj.io",), "install Argo Workflows 3.6 or later")
    yield from of_namespace(site, chip, ("workflows.argoproj.io", "configmaps"))


def of_volcano(site: Site, chip: bool) -> Iterator[Row]:
    kinds = ("jobs.batch.volcano.sh", "jobflows.flow.volcano.sh", "jobtemplates.flow.volcano.sh",
             "queues.scheduling.volcano.sh")
    yield from of_kinds(kinds, "install Volcano 1.8 or later, with its jobflow controller")
    queue = site.kubernetes.queue
    state = said("kubectl", "get", "queues.scheduling.volcano.sh", queue, "--output=jsonpath={.status.state}")
    yield (f"queue {queue} is open", state == "Open",
           "the administrator makes the queue; docs/volcano.md shows one")
    yield from of_namespace(site, chip, ("jobflows.flow.volcano.sh", "jobtemplates.flow.volcano.sh", "configmaps"))


def of_kinds(names: tuple[str, ...], mend: str) -> Iterator[Row]:
    yield (ANSWERS, '"serverVersion"' in said("kubectl", "version", "--output=json"),
           "kubectl version fails: is there a context, and does it reach the cluster?")
    known = said("kubectl", "api-resources", "--output=name").split()
    for name in names:
        yield f"{name} is known", name in known, mend


def of_namespace(site: Site, chip: bool, kinds: tuple[str, ...]) -> Iterator[Row]:
    """Yield what both need: the service account, claims, rights; for a chip the plugin's resource on a node, and labels."""
    here = site.kubernetes
    space = f"--namespace={here.namespace}"
    if chip:
        yield from nodes_of(site)
    yield (f"service account {here.service_account}",
           bool(said("kubectl", "get", "serviceaccount", here.service_account, space)),
           f"kubectl create serviceaccount {here.service_account} {space}; docs/argo.md shows its rights, for Volcano it needs none")
    for claim in filter(None, (here.out_claim, here.data_claim)):
        modes = said("kubectl", "get", "persistentvolumeclaim", claim, space, "--output=jsonpath={.spec.accessModes}")
        shared = "ReadWriteMany" in modes or (claim == here.data_claim and "ReadOnlyMany" in modes)
        yield (f"volume {claim} can be mounted by several nodes", shared,
               f"make a PersistentVolumeClaim {claim} with accessModes: [ReadWriteMany]")
    for what in kinds:
        yield (f"you may create {what}", said("kubectl", "auth", "can-i", "create", what, space).startswith("yes"),
               "ask the administrator for a role in the namespace that may create it")
    yield "an image is named", bool(site.image), "image = \"<registry>/npukit-cann:<tag>\" in the site's profile"


def nodes_of(site: Site) -> Iterator[Row]:
    here, offered = site.kubernetes, said("kubectl", "get", "nodes", "--output=json")
    nodes = json.loads(offered)["items"] if offered else []
    with_chips = [node for node in nodes if int(node["status"].get("allocatable", {}).get(here.resource, 0)) > 0]
    yield f"a node offers {here.resource}", bool(with_chips), "the Ascend device plugin must run on the NPU nodes; see its log there"
    labelled = [node for node in with_chips if here.node_selector.items() <= node["metadata"].get("labels", {}).items()]
    yield (f"such a node has the labels {here.node_selector}", bool(labelled),
           "kubectl label node <node> workerselector=dls-worker-node accelerator=huawei-Ascend310P")
