"""The doctor on planted machines: npu-smi's tables, and one fault of each kind, each answered with its mend."""
import ast
import contextlib
import os
import sys
import urllib.error
from pathlib import Path

import npu_smi_tables as tables
import pytest

from npuops.stage import doctor
from npuops.stage.device import table
from npuops.stage.doctor import Machine, examine

COMMON = Path(doctor.__file__).parents[2]


@pytest.mark.parametrize("text, rows, processes", tables.TABLES.values(), ids=tables.TABLES)
def test_tables(text, rows, processes):
    read = table(text)
    assert [(r.npu_id, r.chip_id, r.device, r.name, r.bus_id, r.used_mb, r.total_mb) for r in read] == rows
    assert [r.processes for r in read] == processes


class Plant:
    """A machine below `root` where nothing is wrong: one Duo, driver 25.2, CANN 8.5, docker with an image, the OM runner."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {"PATH": str(root / "bin"), "OUT_ROOT": str(root / "out"), "VENV": str(root / "venv")}
        for name in ("dev/davinci0", "dev/davinci1", "dev/davinci_manager", "dev/devmm_svm", "dev/hisi_hdc",
                     "etc/ascend_install.info",
                     "usr/local/dcmi/libdcmi.so", "usr/local/Ascend/driver/lib64/libascend_hal.so"):
            self.file(name)
        self.file("usr/local/Ascend/driver/version.info", "Version=25.2.0\nascendhal_version=7.35.23\n")
        self.file("usr/local/Ascend/ascend-toolkit/latest/version.cfg",
                  "# version: 1.0\nruntime_running_version=[8.5.0.1.23:8.5.0]\n")
        self.file("site/ais_bench/infer/__init__.py")
        self.file("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\n")
        self.tool("atc", "")
        self.tool("make", "echo GNU Make 4.3")
        for name in ("bash", "git"):
            self.tool(name, "")
        self.file("venv/ready")
        self.python = (3, 11)
        self.tool("docker", "[[ $1 == images ]] && echo npukit-cpu || echo 26.1.4")
        self.smi(tables.wide(*tables.DUO))
        for number in "01":
            self.pci(f"0000:0{number}:00.0", "0x10de")
        self.pci("0000:01:00.0", "0x19e5")
        self.file("venv/bin/python", f"#!/bin/bash\nPYTHONPATH={root}/site exec {sys.executable} \"$@\"\n").chmod(0o755)

    def file(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def tool(self, name: str, script: str) -> None:
        self.file(f"bin/{name}", f"#!/bin/bash\n{script}\n").chmod(0o755)

    def smi(self, text: str, status: int = 0) -> None:
        self.file("info", text)
        self.tool("npu-smi", f"printf '%s' \"$(<{self.root}/info)\"; exit {status}")

    def pci(self, bus: str, vendor: str) -> None:
        self.file(f"sys/bus/pci/devices/{bus}/vendor", vendor)
        self.file(f"sys/bus/pci/devices/{bus}/class", "0x120000")

    def remove(self, *names: str) -> None:
        for name in names:
            (self.root / name).unlink()

    def contain(self) -> None:
        self.environment["NPUKIT_IMAGE"] = "npukit-cann"

    def lines(self) -> list[doctor.Line]:
        return examine(Machine(self.root, self.environment, self.python))

    def bare(self) -> None:
        """Take away what is made here or carried here: the environment and the engine."""
        self.remove("venv/ready", "bin/docker")


@pytest.fixture
def plant(tmp_path) -> Plant:
    return Plant(tmp_path)


def test_a_sound_host(plant):
    lines = plant.lines()
    assert [str(line) for line in lines if line.mend] == []
    text = "\n".join(map(str, lines))
    for part in ("docker 26.1.4, npukit-cpu", "/dev/davinci0 /dev/davinci1", "25.2.0", "CANN         8.5.0",
                 "CANN 8.5.0 on driver 25.2.0",
                 "/dev/davinci1 = NPU 0 chip 1 at 0000:01:00.0, 310P3, 2412 of 43693 MB", "soc_version  Ascend310P3",
                 "the OM runner",
                 "granted"):
        assert part in text


def test_a_laptop_needs_no_npu(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "answers", lambda _: True)
    lines = examine(Machine(tmp_path, {"PATH": "/none", "OUT_ROOT": str(tmp_path), "VENV": f"{tmp_path}/venv"},
                            (3, 12)))
    assert [line.what for line in lines][:2] == ["engine", "NPU"]
    assert {line.what for line in lines if line.mend} <= {"memory", "tools", "disk", "environment"}


def test_a_machine_without_tools_is_told_their_packages(plant):
    plant.remove("bin/make", "bin/bash", "bin/git")
    wrong = [line for line in plant.lines() if line.what == "tools"]
    assert [(line.found, line.mend) for line in wrong] == [
        (f"no {name} on PATH", f"install it: apt-get install {package}")
        for name, package in (("bash", "bash"), ("make", "make"), ("git", "git"))]


def test_only_an_environment_that_is_to_be_made_asks_the_index(plant, monkeypatch):
    asked = []
    monkeypatch.setattr(doctor, "answers", asked.append)
    plant.lines()  # it is made
    plant.remove("venv/ready")
    assert "jobs run in the image" in "\n".join(map(str, plant.lines())) and asked == []
    plant.remove("bin/docker")
    plant.lines()
    assert asked == [doctor.INDEX]
    plant.environment["PIP_INDEX_URL"] = "https://me:secret@mirror.example.org/simple"
    assert "secret" not in "\n".join(map(str, plant.lines())) and asked[1:] == [plant.environment["PIP_INDEX_URL"]]


def test_an_image_is_complete(plant):
    plant.bare()
    plant.remove("bin/git")
    plant.contain()
    assert not {"tools", "Python", "environment", "index"} & {line.what for line in plant.lines()}


@pytest.mark.parametrize("status, there", [(200, True), (403, True), (None, False)])
def test_whoever_answers_is_there(monkeypatch, status, there):
    def ask(request, timeout):
        assert request.get_method() == "HEAD" and timeout <= 5
        if status is None:
            raise TimeoutError
        if status != 200:
            raise urllib.error.HTTPError(request.full_url, status, "no", {}, None)
        return contextlib.nullcontext()

    monkeypatch.setattr(doctor.urllib.request, "urlopen", ask)
    assert doctor.answers("https://mirror.example.org/simple") is there


def test_a_container_with_one_chip_of_several(plant):
    """The node keeps its host's number, npu-smi counts from 0 and may call the NPU otherwise: the Bus-Id stays."""
    plant.contain()
    plant.remove("dev/davinci0", "dev/davinci1")
    plant.file("dev/davinci3")
    plant.smi(tables.wide(tables.chip(32768, 0, 0, "0000:81:00.0", "1529 / 44280")))
    lines = plant.lines()
    assert [line for line in lines if line.mend] == []
    assert any(line.found.startswith("/dev/davinci3 = NPU 32768 chip 0 at 0000:81:00.0") for line in lines)


FAULTS = {  # how the fault is planted; the line's name and part of it; part of the mend
    "engine down": (lambda p: p.tool("docker", "exit 1"), "engine", "installed and does not answer",
                    "systemctl start docker"),
    "no git": (lambda p: p.remove("bin/git"), "tools", "no git on PATH", "apt-get install git"),
    "old make": (lambda p: p.tool("make", "echo GNU Make 3.81"), "tools", "GNU Make 3.81", "GNU Make 4 is needed"),
    "another make": (lambda p: p.tool("make", "exit 2"), "tools", "make is not GNU Make", "apt-get install make"),
    "old Python": (lambda p: (p.bare(), setattr(p, "python", (3, 9))), "Python", "3.9",
                   "apt-get install python3.11 python3.11-venv"),
    "new Python": (lambda p: (p.bare(), setattr(p, "python", (3, 13))), "Python", "3.13", "3.11 or 3.12"),
    "no venv": (lambda p: p.bare(), "Python", "3.11 has no venv module", "apt-get install python3.11-venv"),
    "no room for it": (lambda p: (p.bare(), p.environment.update(VENV="/proc/venv")), "environment", "0 GB free there",
                       "VENV="),
    "no index": (lambda p: p.bare(), "index", "pypi.org does not answer within 3 s", "PIP_INDEX_URL="),
    "no image": (lambda p: p.tool("docker", "[[ $1 == images ]] || echo 1"), "engine", "no image of npukit",
                 "make wheelhouse image"),
    "no node": (lambda p: p.remove("dev/davinci0", "dev/davinci1"), "nodes", "no /dev/davinciN",
                "install the driver, or load it"),
    "no node given": (lambda p: (p.contain(), p.remove("dev/davinci0", "dev/davinci1")), "nodes", "no /dev/davinciN",
                      "--device /dev/davinci0"),
    "no manager": (lambda p: (p.contain(), p.remove("dev/davinci_manager")), "nodes", "no /dev/davinci_manager",
                   "--device /dev/davinci_manager"),
    "no manager on a host": (lambda p: p.remove("dev/hisi_hdc"), "nodes", "no /dev/hisi_hdc",
                             "install the driver again"),
    "group": (lambda p: (p.contain(), p.root.joinpath("dev/davinci1").chmod(0)), "permission", "/dev/davinci1 is 0",
              "--group-add"),
    "group on a host": (lambda p: p.root.joinpath("dev/davinci0").chmod(0), "permission", "/dev/davinci0 is 0",
                        "usermod -aG"),
    "driver files": (lambda p: (p.contain(), p.remove("etc/ascend_install.info")), "driver",
                     "no /etc/ascend_install.info",
                     "-v /etc/ascend_install.info:/etc/ascend_install.info:ro"),
    "no npu-smi": (lambda p: p.remove("bin/npu-smi"), "npu-smi", "not on PATH", "/usr/local/sbin"),
    "npu-smi fails": (lambda p: p.smi("dcmi module initialize failed. ret is -8005", 1), "npu-smi", "fails",
                      "another container's"),
    "no chip": (lambda p: p.smi("+---+\n"), "npu-smi", "shows no chip", "dmesg"),
    "chip without node": (lambda p: p.remove("dev/davinci1"), "chip", "/dev/davinci1 = NPU 0 chip 1", "no such node"),
    "card not shown": (lambda p: p.pci("0000:81:00.0", "0x19e5"), "chip", "0000:81:00.0 is on the PCI bus",
                       "load the driver again"),
    "sick": (lambda p: p.smi(tables.wide(tables.chip(9, 1, 0, "0000:01:00.0", "1 / 2", health="Critical"))), "health",
             "NPU 9 chip 1: Critical", "npu-smi info -t health -i 9 -c 1"),
    "busy": (lambda p: p.smi(tables.wide(*tables.DUO, processes=tables.TWO)), "busy", "12345 python3, 12399 ais_bench",
             "DEVICE="),
    "two kinds": (lambda p: p.smi(tables.wide(tables.DUO[0], tables.chip(4, 0, 1, "0000:01:00.0", "1 / 2",
                                                                         name="310P1"))), "soc_version",
                  "Ascend310P1 and Ascend310P3", "SOC=Ascend310P1"),
    "atc not on PATH": (lambda p: p.remove("bin/atc"), "CANN", "atc is not on PATH", "set_env.sh"),
    "old driver": (lambda p: p.file("usr/local/Ascend/driver/version.info", "Version=24.1.rc3\n"), "fit",
                   "8.5.0 on driver 24.1.rc3", "update the driver"),
    "old driver, new CANN": (lambda p: (p.file("usr/local/Ascend/driver/version.info", "Version=23.0.3\n"), p.file(
        "usr/local/Ascend/ascend-toolkit/latest/version.cfg", "version=9.0.1\n")), "fit", "9.0.1 on driver 23.0.3",
                             "drivers from 25.0 on"),
    "no ais_bench": (lambda p: p.remove("site/ais_bench/infer/__init__.py")
                     or p.root.joinpath("site/ais_bench/infer").rmdir()
                     or p.root.joinpath("site/ais_bench").rmdir(), "ais_bench", "not installed",
                     "make wheelhouse AIS_BENCH="),
    "the other ais_bench": (lambda p: (p.remove("site/ais_bench/infer/__init__.py"),
                                       p.root.joinpath("site/ais_bench/infer").rmdir(),
                                       p.file("site/ais_bench/benchmark/__init__.py")), "ais_bench",
                            "language-model benchmark",
                            "pip uninstall"),
    "memory": (lambda p: p.file("proc/meminfo", "MemAvailable: 3000000 kB\n"), "memory", "3 GB", "--memory"),
    "memory of the cgroup": (lambda p: p.file("sys/fs/cgroup/memory.max", "4000000000\n"), "memory", "4 GB",
                             "--memory"),
    "disk": (lambda p: p.environment.update(OUT_ROOT="/proc"), "disk", "0 GB free at /proc", "OUT_ROOT="),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_mend(plant, name, monkeypatch):
    cause, what, found, mend = FAULTS[name]
    cause(plant)
    monkeypatch.setattr(doctor, "answers", lambda _: name != "no index")
    if name == "no venv":
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda module: None if module == "ensurepip"
                            else module)
    if name.startswith("group"):  # root may open everything: ask the mode
        monkeypatch.setattr("os.access", lambda path, mode: bool(os.stat(path).st_mode & 0o600))
    wrong = [line for line in plant.lines() if line.mend]
    assert any(line.what == what and found in line.found and mend in line.mend
               for line in wrong), "\n".join(map(str, wrong))
    assert all("\n" not in line.found + line.mend for line in wrong)


def test_an_older_cann_is_not_judged(plant):
    plant.file("usr/local/Ascend/ascend-toolkit/latest/version.cfg", "toolkit_running_version=[7.0.0.5.242:7.0.RC1]\n")
    assert any(line.what == "fit" and "CANN 7.0.RC1 on driver 25.2.0: not judged" in line.found
               for line in plant.lines())


@pytest.mark.parametrize("files, granted", [
    ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1), ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
    ({}, None)])
def test_threads_are_those_granted(plant, files, granted):
    for name, text in files.items():
        plant.file(name, text)
    assert doctor.threads(Machine(plant.root, {})) == (granted or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("name", [
    "npuops/__main__", "npukit/command", "npuops/stage/device", "npuops/stage/doctor", "npukit/errors",
    "npukit/nets/fusions",
    "npuops/stage/why"])
def test_what_looks_at_a_host_is_readable_to_its_old_python(name):
    """Hosts of CANN have Python 3.8 and 3.9; what they run is parsed as such and has no annotation evaluated."""
    text = (COMMON / f"{name}.py").read_text()
    ast.parse(text, feature_version=(3, 8))
    assert "from __future__ import annotations" in text or " | " not in "".join(
        line for line in text.splitlines() if line.startswith("def "))
