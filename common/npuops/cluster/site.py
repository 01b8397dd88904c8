"""What a site is like: one small TOML file, checked key by key. docs/site.toml shows every key with its meaning."""
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from npukit.errors import UserError
from npuops.cluster.texts import printable

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
    modules: list = field(default_factory=list)


@dataclass(frozen=True)
class KubernetesSite:
    """The [kubernetes] table, for Volcano as well."""

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
    node_selector: dict = field(default_factory=lambda: {"accelerator": "huawei-Ascend310P"})
    labels: dict = field(default_factory=lambda: {"ring-controller.atlas": "ascend-310P"})
    host_paths: list = field(default_factory=list)
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
    cpus: dict = field(default_factory=lambda: {"prepare": 4, "compile": 4, "infer": 4, "report": 1, "table": 1})
    # The largest of the smaller models, at full size and its largest batch, with room; the chip's own atc has not been measured.
    memory_gib: dict = field(default_factory=lambda: {"prepare": 4, "compile": 8, "infer": 4, "report": 4, "table": 1})
    minutes: dict = field(default_factory=lambda: {"prepare": 60, "compile": 120, "infer": 60, "report": 30, "table": 10})
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
    return filled(Site, values, str(path))


def filled(cls, values: dict, where: str):
    """Return the dataclass with these values over its defaults, each known and of its default's type."""
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"{where}: there is no key {', '.join(unknown)}; there are: {', '.join(known)}")
    default = cls()
    checked = {name: value(getattr(default, name), given, f"{where}: {name}") for name, given in values.items()}
    site = cls(**checked)
    if isinstance(site, Site):
        check(site, where)
    return site


def value(default, given, where: str):
    """Return a given value if it is of the default's kind (a string where the default is None)."""
    if isinstance(default, (SlurmSite, KubernetesSite)):
        return filled(type(default), expect(dict, given, where), where)
    expect(str if default is None else type(default), given, where)
    printable(given, where)
    return {**default, **given} if where.endswith(tuple(f": {name}" for name in PER_KIND)) else given


def expect(kind: type, given, where: str):
    if type(given) is not kind:
        raise UserError(f"{where} = {given!r}; expected {kind.__name__}")
    return given


def check(site: Site, where: str) -> None:
    """Raise UserError for values that are of the right type and cannot be."""
    if site.engine not in ENGINES:
        raise UserError(f"{where}: engine = '{site.engine}'; it is one of {', '.join(ENGINES)}")
    if site.engine == "apptainer" and not site.image:
        raise UserError(f"{where}: engine = 'apptainer' needs image = the path of a .sif file")
    wrong = [f"{name}.{kind} = {n!r}" for name in PER_KIND for kind, n in getattr(site, name).items()
             if kind not in KINDS or type(n) is not int or n < 1]
    wrong += [f"{name} = {n}" for name in ("retries", "grace") if (n := getattr(site, name)) < (name != "retries")]
    if wrong:
        raise UserError(f"{where}: {', '.join(wrong)}; {', '.join(PER_KIND)} are of {', '.join(KINDS)}, and numbers are whole and positive")
