"""npu-smi as a black box: the layout that scripts parse, planted devices, what is refused."""
import json
import re

import pytest

IDLE = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0 (npukit stand-in)                 Version: 25.2.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       310P3                 | OK              | NA           45                0     / 0             |
| 0       0                     | 0000:01:00.0    | 0            1529 / 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 0       310P3                 | OK              | NA           45                0     / 0             |
| 1       1                     | 0000:01:00.0    | 0            1508 / 43693                            |
+===============================+=================+======================================================+
| 32768   310P3                 | OK              | NA           45                0     / 0             |
| 0       2                     | 0000:81:00.0    | 0            1848 / 21525                            |
+===============================+=================+======================================================+
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
| No running processes found in NPU 0                                                                    |
+===============================+=================+======================================================+
| No running processes found in NPU 32768                                                                |
+===============================+=================+======================================================+
"""
BUSY = [{"id": 7, "chip": 1, "aicore": 37, "memory": [2412, 43693],
         "processes": [{"pid": 12345, "name": "python3", "memory": 883}]}, {"id": 7, "chip": 0, "name": "310P1"}]


@pytest.fixture
def plant(run, tmp_path):
    """Return a function that runs npu-smi on a host with these chips."""
    def run_planted(arguments, chips):
        (tmp_path / "chips.json").write_text(chips if isinstance(chips, str) else json.dumps(chips))
        return run(f"npu-smi {arguments}", NPUKIT_STANDIN_NPU_SMI="chips.json")
    return run_planted


def test_info_as_the_originals_call_it(run):
    """`npu-smi info`, the command of all the original READMEs."""
    result = run("npu-smi info")
    assert (result.returncode, result.stdout, result.stderr) == (0, IDLE, "")


def test_mapping(run):
    """The table that a script reads logic ids and the chip's name from; MCUs have no logic id."""
    header, *rows = run("npu-smi info -m").stdout.splitlines()
    assert re.split(r"\s{2,}", header.strip()) == ["NPU ID", "Chip ID", "Chip Logic ID", "Chip Name"]
    assert [re.split(r"\s{2,}", row.strip()) for row in rows] == [
        ["0", "0", "0", "Ascend 310P3"], ["0", "1", "1", "Ascend 310P3"], ["0", "2", "-", "Mcu"],
        ["32768", "0", "2", "Ascend 310P3"], ["32768", "1", "-", "Mcu"]]


@pytest.mark.parametrize("query, lines", [
    ("board -i 32768 -c 0", ["Chip Type +: Ascend", "Chip Name +: 310P3", "PCIe Bus Info +: 0000:81:00.0"]),
    ("board -i 0", ["NPU ID +: 0", "Software Version +: 25.2.0", "PCI Vendor ID +: 0x19E5", "Chip Count +: 2"]),
    ("usages -i 0 -c 0", ["DDR Capacity\\(MB\\) +: 44280", "Aicore Usage Rate\\(%\\) +: 0", "Chip ID +: 0"]),
    ("usages -i 0", ["Chip Count +: 2", "Chip ID +: 1"]),
    ("common -i 32768", ["Memory Usage Rate\\(%\\) +: 8", "Aicore Count +: 8", "Temperature\\(C\\) +: 45"]),
    ("proc-mem -i 0 -c 1", ["No process in device\\."]),
    ("health -i 0", ["Health Status +: OK"]), ("temp -i 0", ["NPU Temperature \\(C\\) +: 45"]),
    ("power -i 0", ["Power Dissipation\\(W\\) +: NA"])])
def test_queries(query, lines, run):
    result = run(f"npu-smi info -t {query}")
    assert result.returncode == 0
    for line in lines:
        assert re.search(f"^\t.*{line}", result.stdout, re.MULTILINE), result.stdout
    assert "HBM" not in result.stdout, "the 310P has DDR"


def test_busy_device(plant):
    text = plant("info", BUSY).stdout
    assert "| 7       1                     | 12345           | python3                  | 883       " in text
    assert "No running processes" not in text
    assert "| 7       310P1                 |" in text and "| 37           2412 / 43693     " in text
    assert {len(line) for line in text.splitlines()} == {106}
    assert re.search(r"Process id/memory\(MB\) +: 12345/883", plant("info -t proc-mem -i 7 -c 1", BUSY).stdout)
    assert "No process in device" in plant("info -t proc-mem -i 7 -c 0", BUSY).stdout


@pytest.mark.parametrize("chips", ["[]", "missing"])
def test_no_driver(chips, plant, run):
    result = plant("info", chips) if chips == "[]" else run("npu-smi info", NPUKIT_STANDIN_NPU_SMI="missing.json")
    assert (result.returncode, result.stdout) == (1, "dcmi module initialize failed. ret is -8005\n")


@pytest.mark.parametrize("chips", ["[", '[{"chip": 0}]', '[{"id": 0, "chip": 0, "colour": 1}]', "3"])
def test_a_planted_file_that_is_no_list_of_chips(chips, plant):
    result = plant("info", chips)
    assert result.returncode == 1 and "NPUKIT_STANDIN_NPU_SMI=chips.json is no list of chips" in result.stdout


@pytest.mark.parametrize("arguments, words", [
    ("set -t create-vnpu -i 0 -c 0 -f vir04", "Operation not permitted"), ("upgrade", "Error parameter of upgrade"),
    ("info -t board -i 1", "There are: -i 0 -c 0, -i 0 -c 1, -i 32768 -c 0"),
    ("info -t nonsense -i 0", "Error parameter"),
    ("info -t board", "Error parameter"), ("info -x", "Error parameter of -x")])
def test_refusals(arguments, words, run):
    result = run(f"npu-smi {arguments}")
    assert result.returncode == 1 and words in result.stdout
