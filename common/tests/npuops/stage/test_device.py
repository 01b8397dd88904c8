"""Chips as several generations of npu-smi print them."""
import json
import os
import pwd
import textwrap
from pathlib import Path

import pytest

from npukit.errors import Unavailable, UserError
from npuops.stage.device import Chip, chips, nodes, npu_smi, require_idle, require_node, soc_version, who

STANDIN = Path(__file__).parents[3] / "standin" / "bin"

OLD = """
\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Name
\t0                              0                              0                              Ascend 310P3
\t0                              1                              1                              Ascend 310P3
\t0                              2                              -                              Mcu
\t32768                          0                              2                              Ascend 310P3
\t32768                          1                              -                              Mcu
"""
NEW = """
    NPU ID    Chip ID    Chip Logic ID    Chip Phy-ID    Chip Name
    4         0          1                12             Ascend 310P3
    4         1          -                -              Mcu
    5         0          0                13             Ascend 310P3
"""
THREE = [Chip(0, 0, 0, "310P3"), Chip(1, 0, 1, "310P3"), Chip(2, 32768, 0, "310P3")]
TWO = [Chip(0, 5, 0, "310P3"), Chip(1, 4, 0, "310P3")]


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Return a function that puts an npu-smi on PATH: what `info -m` prints, what else prints, the exit status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def planted(mapping, answer="No process in device.", status=0):
        (tmp_path / "mapping").write_text(mapping)
        (tmp_path / "answer").write_text(answer)
        smi = tmp_path / "npu-smi"
        smi.write_text(textwrap.dedent(f"""\
            #!/bin/bash
            echo "$@" >>{tmp_path}/calls
            [ "$2" = -m ] && cat {tmp_path}/mapping || cat {tmp_path}/answer
            exit {status}
            """))
        smi.chmod(0o755)
        return tmp_path / "calls"

    return planted


@pytest.mark.parametrize("mapping, expected", [
    (OLD, THREE), (NEW, TWO), (OLD.strip(), THREE), (f"Warning: the driver is older than the tool\n{NEW}", TWO),
    (OLD.replace("Ascend 310P3", "310P3"), THREE), (OLD.replace("Ascend 310P3", "Ascend310P3"), THREE),
    ("NPU ID  Chip ID  Chip Logic ID  Chip Name\n7  0  0  Ascend 910B4\n", [Chip(0, 7, 0, "910B4")])],
    ids=["old", "new", "no indentation", "a warning first", "short name", "name without a blank", "another chip"])
def test_mapping(plant, mapping, expected):
    plant(mapping)
    assert chips() == expected


def test_soc_version(plant):
    plant(OLD)
    assert soc_version() == "Ascend310P3"


def test_chips_of_two_kinds_are_the_users_to_choose(plant):
    plant(OLD + "\t9  0  3  Ascend 310P1\n")
    with pytest.raises(UserError, match="310P1 and 310P3; say which with SOC="):
        soc_version()


@pytest.mark.parametrize("mapping", ["", "\n", "\tNPU ID  Chip ID  Chip Logic ID  Chip Name\n\t0  2  -  Mcu\n"])
def test_no_chip(plant, mapping):
    plant(mapping)
    with pytest.raises(Unavailable, match="npu-smi shows no chip"):
        chips()


def test_a_driver_that_does_not_answer(plant):
    plant("dcmi module initialize failed. ret is -8005", status=1)
    with pytest.raises(Unavailable, match=r"npu-smi info -m failed: dcmi module initialize failed\. ret is -8005"):
        chips()


def test_no_npu_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no npu-smi on PATH.*SOC=cpu"):
        npu_smi("info")


def test_an_idle_device_is_asked_for_by_its_npu_and_chip_id(plant):
    calls = plant(OLD)
    require_idle(2)
    assert calls.read_text().splitlines()[-1] == "info -t proc-mem -i 32768 -c 0"


BUSY = {
    "one": ("\tProcess id/memory(MB)          : 12345/883\n", "12345"),
    "two keys": ("\tNPU ID                         : 0\n\tChip ID                        : 1\n"
                 "\tProcess id                     : 12345\n\tProcess memory(MB)             : 883\n", "12345"),
    "two processes": ("\tProcess id : 12\n\tProcess memory(MB) : 1\n\tProcess id : 34\n\tProcess memory(MB) : 2\n",
                      "12, 34"),
}


@pytest.mark.parametrize("answer, names", BUSY.values(), ids=BUSY)
def test_a_busy_device_is_refused_with_the_processes(plant, monkeypatch, answer, names):
    plant(OLD, answer)
    monkeypatch.setattr("npuops.stage.device.who", str)
    with pytest.raises(Unavailable, match=f"device 1 is busy with process {names};"):
        require_idle(1)


def test_who_is_on_the_device(tmp_path):
    name = Path("/proc/self/comm").read_text().strip()
    assert who(str(os.getpid())) == f"{os.getpid()} ({name} of {pwd.getpwuid(os.getuid()).pw_name})"
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_text("python3\n")
    if os.getuid() == 0:
        os.chown(tmp_path / "7", 54321, -1)
        assert who("7", tmp_path) == "7 (python3 of uid 54321)"
    assert who("8", tmp_path) == "8", "in another container"


@pytest.fixture
def dev(tmp_path, monkeypatch):
    monkeypatch.setattr("npuops.stage.device.DEV", tmp_path)
    return tmp_path


def test_a_chip_needs_a_node_that_may_be_opened(dev, monkeypatch):
    for name in ("davinci_manager", "null"):
        (dev / name).touch()
    with pytest.raises(Unavailable, match=r"there is no /dev/davinci device here; .* --device /dev/davinci0"):
        require_node()
    for number in (10, 2):
        (dev / f"davinci{number}").touch()
    assert [node.name for node in nodes()] == ["davinci2", "davinci10"]
    require_node()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    group = (dev / "davinci2").stat().st_gid
    with pytest.raises(UserError,
                       match=f"davinci2 belongs to group {group} and uid .* may not open it; .* --group-add {group},"):
        require_node()


def test_a_device_that_is_not_there(plant):
    plant(OLD)
    with pytest.raises(UserError, match="there is no device 7; this machine has 0, 1, 2"):
        require_idle(7)


def test_the_stand_ins_npu_smi_is_understood(tmp_path, monkeypatch):
    planted = tmp_path / "chips.json"
    busy = [{"pid": 4711, "name": "python3", "memory": 883}]
    planted.write_text(json.dumps([{"id": 7, "chip": 0}, {"id": 7, "chip": 1, "processes": busy}]))
    monkeypatch.setenv("NPUKIT_STANDIN_NPU_SMI", str(planted))
    monkeypatch.setenv("PATH", f"{STANDIN}:{os.environ['PATH']}")
    assert chips() == [Chip(0, 7, 0, "310P3"), Chip(1, 7, 1, "310P3")]
    require_idle(0)
    with pytest.raises(Unavailable, match="device 1 is busy with process 4711"):
        require_idle(1)
    planted.write_text("[]")
    with pytest.raises(Unavailable, match="-8005"):
        chips()
