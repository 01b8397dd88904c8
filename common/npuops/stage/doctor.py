"""What a job needs from this machine, or from this container, found or missing: one line each, with the mend.

    python3 -m npuops doctor

Looks and changes nothing. Needs nothing but Python, 3.8 or newer: it is what runs where nothing else does yet.
"""
from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from npukit.errors import UserError
from npuops.stage import device

# CANN -> the oldest driver that it is released for; what is newer wants no older one. (Release note of CANN 8.5.0, "Mapping
# Between CANN and Driver Versions": HDK 25.0, 25.2, 25.3, 25.5.) Older CANN: not documented in one place, not judged.
OLDEST_DRIVER = {(8, 5): (25, 0)}
DRIVER_FILES = ("usr/local/dcmi", "usr/local/Ascend/driver/lib64", "usr/local/Ascend/driver/version.info",
                "etc/ascend_install.info")
CONTROL_NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
WHERE = "import importlib.util as u; s = u.find_spec('ais_bench'); print((s.submodule_search_locations or [s.origin])[0] if s else '')"
MEMORY_GB, DISK_GB = 8, 5  # what the tracing and compiling of BERT-large takes at most; one model's run, full size
VENV_GB = 3  # .venv is 1.8 GB, and pip unpacks beside it; PyTorch with CUDA is larger
TOOLS = {"bash": "bash", "make": "make", "git": "git"}  # what makefiles and scripts call: Debian's package
INDEX, INDEX_SECONDS = "https://pypi.org/simple/", 3  # pip's own, where nothing names another


@dataclass(frozen=True)
class Line:
    """One finding: ok if there is nothing to mend."""

    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{'wrong' if self.mend else 'ok':6}{self.what:13}{self.found}" + (f"\n{'':19}-> {self.mend}"
                                                                                  if self.mend else "")


@dataclass(frozen=True)
class Machine:
    """Where to look: a root folder and an environment, which the tests plant."""

    root: Path = Path("/")
    environment: dict = field(default_factory=lambda: dict(os.environ))
    python: tuple = tuple(sys.version_info[:2])

    def text(self, name: str) -> str:
        """Return a file's text, empty if it cannot be read."""
        try:
            return (self.root / name).read_text(errors="replace")
        except OSError:
            return ""

    def run(self, *command: str) -> str | None:
        """Return what a command prints, None if it is not there or fails."""
        path = shutil.which(command[0], path=self.environment.get("PATH"))
        if path is None:
            return None
        try:
            done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=60,
                                  env=self.environment)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def has(self, name: str) -> bool:
        return os.path.lexists(self.root / name)

    def nodes(self) -> list[int]:
        """Return the N of every /dev/davinciN."""
        return sorted(int(path.name[7:]) for path in (self.root / "dev").glob("davinci*") if path.name[7:].isdigit())

    def contained(self) -> bool:
        return "NPUKIT_IMAGE" in self.environment or self.has(".dockerenv") or self.has("run/.containerenv")


def examine(machine: Machine) -> list[Line]:
    """Return every finding, in the order in which they matter."""
    lines = list(engine(machine))
    if any((machine.nodes(), machine.has("usr/local/Ascend/driver"),
            shutil.which("npu-smi", path=machine.environment.get("PATH")))):
        lines += [*nodes(machine), *driver(machine), *chips(machine)]
    else:
        lines.append(Line("NPU", "none: no /dev/davinciN, no driver; SOC=cpu and STANDIN=1 run here"))
    return [*lines, *cann(machine), *runner(machine), *ground(machine, in_image="npukit-" in lines[0].found),
            *resources(machine)]


def engine(machine: Machine) -> Iterator[Line]:
    """A container engine that answers, and what it has of ours."""
    if machine.contained():
        yield Line("container", machine.environment.get("NPUKIT_IMAGE", "not one of npukit's"))
        return
    for name in ("docker", "podman"):
        if (version := machine.run(name, "version", "--format", "{{.Server.Version}}" if name == "docker"
                                   else "{{.Client.Version}}")):
            images = machine.run(name, "images", "--format", "{{.Repository}}") or ""
            ours = sorted({image.rpartition("/")[2] for image in images.split() if "npukit-" in image})
            found = f"{name} {version.strip()}, {', '.join(ours) or 'no image of npukit'}"
            yield Line("engine", found, "" if ours else "make wheelhouse image, or load a saved one: docker/README.md")
            return
        if shutil.which(name, path=machine.environment.get("PATH")):
            yield Line("engine", f"{name} is installed and does not answer",
                       f"start it, and join the group that may use it: systemctl start {name}; usermod -aG docker $USER")
            return
    yield Line("engine", "none: jobs run on this machine, without a container")


def nodes(machine: Machine) -> Iterator[Line]:
    """The device nodes, and whether this user may open them."""
    found = machine.nodes()
    if not found:
        yield Line("nodes", "no /dev/davinciN", "run the container with --device /dev/davinci0" if machine.contained()
                   else
                   "install the driver, or load it: its kernel modules make the nodes")
        return
    yield Line("nodes", " ".join(f"/dev/davinci{n}" for n in found))
    missing = [name for name in CONTROL_NODES if not machine.has(f"dev/{name}")]
    if missing:
        yield Line("nodes", f"no {', '.join(f'/dev/{name}' for name in missing)}",
                   "run the container with " + " ".join(f"--device /dev/{name}" for name in missing)
                   if machine.contained() else
                   "install the driver again: it makes these beside the chips' own")
    for number in found:
        path = machine.root / f"dev/davinci{number}"
        stat, readable = path.stat(), os.access(path, os.R_OK | os.W_OK)
        yield Line("permission",
                   f"/dev/davinci{number} is {stat.st_mode & 0o777:o}, uid {stat.st_uid}, group {stat.st_gid}",
                   "" if readable else f"run the container with --group-add {stat.st_gid}" if machine.contained() else
                   f"add this user to group {stat.st_gid}: usermod -aG \"$(getent group {stat.st_gid} | cut -d: -f1)\" $USER")


def driver(machine: Machine) -> Iterator[Line]:
    """The driver's version and the files of it that a container needs."""
    missing = [f"/{name}" for name in DRIVER_FILES if not machine.has(name)]
    version = driver_version(machine)
    yield Line("driver", version or "version unknown")
    if missing:
        yield Line("driver", f"no {', '.join(missing)}",
                   "run the container with " + " ".join(f"-v {name}:{name}:ro" for name in missing)
                   if machine.contained() else
                   "install the driver completely (--full)")


def driver_version(machine: Machine) -> str:
    match = re.search(r"^(?:package_)?version=(\S+)", machine.text("usr/local/Ascend/driver/version.info"), re.M | re.I)
    return match[1] if match else ""


def chips(machine: Machine) -> Iterator[Line]:
    """The chips as npu-smi shows them, joined to nodes and to the PCI bus."""
    if shutil.which("npu-smi", path=machine.environment.get("PATH")) is None:
        yield Line("npu-smi", "not on PATH",
                   "mount it: -v /usr/local/bin/npu-smi:/usr/local/bin/npu-smi:ro (on some hosts in /usr/local/sbin)"
                   if machine.contained() else "install the driver, and add /usr/local/bin and /usr/local/sbin to PATH")
        return
    text = machine.run("npu-smi", "info")
    if text is None:
        yield Line("npu-smi", "fails",
                   "the chip is another container's, its node may not be opened, or libraries of the driver are "
                   "not mounted: see the lines above")
        return
    rows = device.table(text)
    if not rows:
        yield Line("npu-smi", "shows no chip",
                   "look at dmesg for the driver's messages; in a container, see the nodes above")
        return
    yield from joined(machine, rows)
    for row in rows:
        name = f"NPU {row.npu_id} chip {row.chip_id}"
        if row.health.upper() != "OK":
            yield Line("health", f"{name}: {row.health}",
                       f"npu-smi info -t health -i {row.npu_id} -c {row.chip_id}; reset the card")
        if row.processes:
            who = ", ".join(f"{pid} {process}".strip() for pid, process in row.processes)
            yield Line("busy", f"{name}: {who}",
                       "wait for it, or take another chip with DEVICE=; timings need an idle one")
    names = sorted({f"Ascend{row.name}" for row in rows})
    yield Line("soc_version", " and ".join(names), f"say which: SOC={names[0]}" if len(names) > 1 else "")


def joined(machine: Machine, rows: list[device.Row]) -> Iterator[Line]:
    """Each chip with its node. NPU ids are opaque and change between host and container; the Bus-Id is the same in both."""
    found = machine.nodes()
    for row in rows:
        number = found[row.device] if machine.contained() and row.device < len(found) else row.device
        place = f"/dev/davinci{number} = NPU {row.npu_id} chip {row.chip_id} at {row.bus_id}, {row.name}"
        yield Line("chip", f"{place}, {row.used_mb} of {row.total_mb} MB", "" if number in found else
                   f"npu-smi counts it as {row.device} and there is no such node; give DEVICE= one that there is")
    shown = {row.bus_id[-12:] for row in rows}
    for folder in sorted((machine.root / "sys/bus/pci/devices").glob("*")):
        vendor, kind = machine.text(f"{folder}/vendor").strip(), machine.text(f"{folder}/class").strip()
        if vendor == "0x19e5" and kind.startswith("0x1200") and folder.name.lower() not in shown and not machine.contained():
            yield Line("chip", f"{folder.name} is on the PCI bus and npu-smi does not show it",
                       "look at dmesg; load the driver again")


def cann(machine: Machine) -> Iterator[Line]:
    """CANN's version, and whether the driver is recent enough for it."""
    named = machine.environment.get("ASCEND_TOOLKIT_HOME", "").lstrip("/")
    homes = [named, "usr/local/Ascend/ascend-toolkit/latest", "usr/local/Ascend/cann"]
    home = next((home for home in homes if home and machine.has(f"{home}/version.cfg")), None)
    if home is None:
        return
    text = machine.text(f"{home}/version.cfg")
    match = re.search(r":(\d+\.\d+[\w.]*)\]", text) or re.search(r"version=\[?(\d+\.\d+[\w.]*)", text, re.I)
    version = match[1] if match else "of an unknown version"
    yield Line("CANN", f"{version} at /{home}")
    if shutil.which("atc", path=machine.environment.get("PATH")) is None:
        yield Line("CANN", "atc is not on PATH", f"source /{home}/../set_env.sh (under set +u)")
    ours, theirs = numbers(version), numbers(driver_version(machine))
    oldest = next((oldest for cann, oldest in sorted(OLDEST_DRIVER.items(), reverse=True) if ours >= cann), None)
    if theirs and oldest:
        yield Line("fit", f"CANN {version} on driver {driver_version(machine)}", "" if theirs >= oldest else
                   f"this CANN is made for drivers from {'.'.join(map(str, oldest))} on: update the driver, or build on an older "
                   "CANN with BASE=")
    elif theirs:
        yield Line("fit", f"CANN {version} on driver {driver_version(machine)}: not judged, see CANN's release note")


def numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, to compare by."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else ()


def runner(machine: Machine) -> Iterator[Line]:
    """Which ais_bench is installed: the OM runner, or the language-model benchmark of the same name."""
    python = Path(machine.environment.get("VENV", "")) / "bin" / "python"
    folder = machine.run(str(python) if python.exists() else "python3", "-c", WHERE)
    if not (folder or "").strip():
        if any(machine.has(f"usr/local/Ascend/{name}") for name in ("ascend-toolkit", "cann")):
            yield Line("ais_bench", "not installed",
                       "make wheelhouse AIS_BENCH=<checkout or wheels>; make SOC=Ascend310P3 image: docker/README.md")
        return
    place = Path(folder.strip())
    if not (place / "infer").is_dir():
        yield Line("ais_bench", f"{place} is the language-model benchmark of the same name",
                   "pip uninstall ais_bench, then install the OM runner: aclruntime and ais_bench of Ascend's tools")
        return
    yield Line("ais_bench", f"the OM runner{', the stand-in' if 'standin' in str(place.parent) else ''}, at {place}")


def ground(machine: Machine, in_image: bool) -> Iterator[Line]:
    """What everything else stands on: tools, Python, the environment. An image has them all; where jobs run in one, no Python is needed."""
    if "NPUKIT_IMAGE" in machine.environment:
        return
    yield from tools(machine)
    venv = Path(machine.environment.get("VENV", ".venv")).absolute()
    if (venv / "ready").exists():
        yield Line("environment", f"{venv}, ready")
    elif in_image:
        yield Line("environment", f"no {venv}: jobs run in the image; what does not, such as fetch, makes it first")
    else:
        yield from python(machine)
        yield from unmade(machine, venv)


def tools(machine: Machine) -> Iterator[Line]:
    """What makefiles and scripts call, but for what every Linux has."""
    found = [name for name in TOOLS if shutil.which(name, path=machine.environment.get("PATH"))]
    if found:
        yield Line("tools", " ".join(found))
    for name in TOOLS:
        if name not in found:
            yield Line("tools", f"no {name} on PATH", f"install it: apt-get install {TOOLS[name]}")
    version = re.match(r"GNU Make (\d+)\S*", machine.run("make", "--version") or "")
    if "make" in found and not (version and int(version[1]) >= 4):
        yield Line("tools", version[0] if version else "make is not GNU Make",
                   "GNU Make 4 is needed: apt-get install make")


def python(machine: Machine) -> Iterator[Line]:
    """The Python that the environment would be made of: this one, PYTHON3= of make."""
    name = ".".join(map(str, machine.python))
    wrong = not (3, 11) <= machine.python < (3, 13)
    yield Line("Python", name, "" if not wrong else
               "npukit needs 3.11 or 3.12: apt-get install python3.11 python3.11-venv, and PYTHON3=python3.11")
    if not wrong and not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        yield Line("Python", f"{name} has no venv module", f"apt-get install python{name}-venv")


def unmade(machine: Machine, venv: Path) -> Iterator[Line]:
    """What the first make needs to make the environment: room, and the package index, which nothing asks for afterwards."""
    place = next(folder for folder in venv.parents if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    yield Line("environment", f"no {venv} yet, {free:.0f} GB free there: `make setup` makes it", "" if free >= VENV_GB
               else
               f"it wants {VENV_GB} GB: give VENV= a place")
    asked = machine.run("python3", "-m", "pip", "config", "get", "global.index-url") or ""
    index = machine.environment.get("PIP_INDEX_URL") or asked.strip() or INDEX
    where = urllib.parse.urlsplit(index).hostname or "the package index"  # an address may hold a password
    there = answers(index)
    yield Line("index", f"{where} {'answers' if there else f'does not answer within {INDEX_SECONDS} s'}", "" if there
               else
               "name a mirror with PIP_INDEX_URL=, a proxy with HTTPS_PROXY=, or run in an image: docker/README.md")


def answers(address: str) -> bool:
    """Return whether anybody answers at an address, with a page or a refusal."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=INDEX_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def resources(machine: Machine) -> Iterator[Line]:
    """Memory, disk and threads: what was granted, not what the host has."""
    limits = [machine.text(f"sys/fs/cgroup/{name}").strip() for name in ("memory.max", "memory/memory.limit_in_bytes")]
    match = re.search(r"MemAvailable:\s+(\d+) kB", machine.text("proc/meminfo"))
    memory = min([*(int(limit) for limit in limits if limit.isdigit()), *([int(match[1]) * 1024] if match else [])],
                 default=0) / 1e9
    yield Line("memory", f"{memory:.0f} GB", "" if memory >= MEMORY_GB else
               f"full-size models want {MEMORY_GB} GB: raise --memory, or end something")
    out = Path(machine.environment.get("OUT_ROOT", "out"))
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    yield Line("disk", f"{free:.0f} GB free at {place}", "" if free >= DISK_GB else
               f"a full-size run wants {DISK_GB} GB: give OUT_ROOT= a place")
    if not os.access(place, os.W_OK):
        yield Line("disk", f"{place} cannot be written", "run the container as its owner: --user \"$(id -u):$(id -g)\"")
    yield Line("threads", f"{threads(machine)} granted, of {os.cpu_count()} the host has")


def threads(machine: Machine) -> int:
    """Return the CPUs that affinity and the cgroup's quota grant, at least 1."""
    quota = machine.text("sys/fs/cgroup/cpu.max").split() or [
        machine.text(f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    granted = float(len(os.sched_getaffinity(0)))
    if len(quota) == 2 and all(part.isdigit() for part in quota):
        granted = min(granted, int(quota[0]) / int(quota[1]))
    return max(1, int(granted))


def main() -> None:
    """Print the findings; raise UserError if there is something to mend."""
    lines = examine(Machine())
    print("\n".join(map(str, lines)))
    wrong = sum(bool(line.mend) for line in lines)
    if wrong:
        raise UserError(f"{wrong} of {len(lines)} findings want mending, each as its second line says")
