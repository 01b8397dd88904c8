"""What a site is like: one small TOML file, checked key by key. docs/site.toml shows every key with its meaning."""
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from npukit.errors import UserError
from npuops.cluster import typed

ENGINES = ("none", "docker", "podman", "apptainer")
PER_KIND = ("cpus", "memory_gib", "minutes")  # tables of these
KINDS = ("prepare", "compile", "infer", "report", "table")


@dataclass(frozen=True)
class SlurmSite:
    """The [slurm] table. partition is for CPU jobs, npu_partition for NPU jobs; None leaves the choice to Slurm."""

    partition: str | None = None
    npu_partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gres: str = "npu"
    even: bool = False
    modules: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class KubernetesSite:
    """The [kubernetes] table, for Argo Workflows and Volcano."""

    namespace: str = "default"
    service_account: str = "npukit"
    queue: str = "default"
    resource: str = "huawei.com/Ascend310P"
    out_claim: str = "npukit-out"
    data_claim: str | None = None
    code: str = "/npukit"
    python: str = "/opt/venv/bin/python"
    scratch: str = "8Gi"
    user: int = 1000
    group: int = 1000
    node_selector: dict[str, str] = field(default_factory=lambda: {"accelerator": "huawei-Ascend310P"})
    labels: dict[str, str] = field(default_factory=lambda: {"ring-controller.atlas": "ascend-310P"})
    host_paths: list[str] = field(default_factory=list)
    keep_seconds: int = 86400
    mirror: str | None = None
    publish: str | None = None


@dataclass(frozen=True)
class Site:
    """One site. cpus, memory_gib, minutes: what a job of each kind asks for, and its time limit; retries: after failures of the
    infrastructure; grace: seconds between SIGTERM and the limit."""

    engine: str = "none"
    image: str | None = None
    retries: int = 3
    grace: int = 120
    cpus: dict[str,
               int] = field(default_factory=lambda: {"prepare": 4, "compile": 4, "infer": 4, "report": 1, "table": 1})
    # The largest of the smaller models, at full size and its largest batch, with room; the chip's own atc has not been measured.
    memory_gib: dict[str, int] = field(default_factory=lambda: {"prepare": 4, "compile": 8, "infer": 4, "report": 4,
                                                                "table": 1})
    minutes: dict[str, int] = field(default_factory=lambda: {"prepare": 60, "compile": 120, "infer": 60, "report": 30,
                                                             "table": 10})
    slurm: SlurmSite = SlurmSite()
    kubernetes: KubernetesSite = KubernetesSite()


def read(path: Path | None) -> Site:
    """Return the site that a file describes, the defaults for None; UserError names the file and the key that is wrong."""
    if path is None:
        return Site()
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    for name in PER_KIND:  # what is said of a kind is laid over the default
        if isinstance(values.get(name), dict):
            values[name] = getattr(Site(), name) | values[name]
    site = typed.build(Site, values, str(path))
    check(site, str(path))
    return site


def check(site: Site, where: str) -> None:
    """Raise UserError for values that are of the right type and cannot be."""
    if site.engine not in ENGINES:
        raise UserError(f"{where}: engine = '{site.engine}'; it is one of {', '.join(ENGINES)}")
    if site.engine == "apptainer" and not site.image:
        raise UserError(f"{where}: engine = 'apptainer' needs image = the path of a .sif file")
    wrong = [f"{name}.{kind} = {n!r}" for name in PER_KIND
             for kind, n in getattr(site, name).items() if kind not in KINDS or n < 1]
    wrong += [f"{name} = {n}" for name in ("retries", "grace") if (n := getattr(site, name)) < (name != "retries")]
    if wrong:
        raise UserError(f"{where}: {', '.join(wrong)}; {', '.join(PER_KIND)} are of {', '.join(KINDS)}, and numbers are whole and positive")
