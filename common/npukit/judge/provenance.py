"""Where numbers come from: commands, digests, versions, commit, host. Needs nothing but Python."""
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from npukit.files import sha256


def provenance(records: dict[str, dict], inputs: dict[str, Path]) -> dict:
    """Return where the numbers come from: commands and times of the stages, digests, versions, commit, host."""
    started = min((record["started"] for record in records.values()), default=None)
    return {
        "commands": {stage: record["command"] for stage, record in records.items()},
        "seconds": {stage: record["seconds"] for stage, record in records.items()},
        "inputs": {name: sha256(path) for name, path in inputs.items()},
        "versions": tool_versions(),
        "commit": commit(),
        "host": {"cpu": cpu_name(), "cpus_granted": len(os.sched_getaffinity(0)),
                 "system": platform.platform(terse=True)},
        "image": os.environ.get("NPUKIT_IMAGE"),
        "started": started,
    }


def chip(soc: str, standin: bool) -> str:
    """Return a chip's name in paths and tables. A stand-in's never reads like a chip's; the CPU always has the stand-in's tools."""
    return soc + ("-standin" if standin and soc != "cpu" else "")


def tool_versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "transformers", "onnx", "onnxsim", "onnxruntime", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def commit() -> str | None:
    """Return the commit of the tree, with +changes where it is not clean; the image says it where there is no git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True,
                               check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("NPUKIT_COMMIT")
    return head + ("+changes" if dirty else "")


def cpu_name() -> str:
    """Return the processor's name as the kernel gives it."""
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        names = []
    return names[0] if names else platform.machine()
