"""npu-smi: the layout that scripts parse. Nothing of what runs on the devices is kept."""
import re

import pytest

TOOL = "npu-smi"
IDLE, PROCESS = "No running processes found in NPU", re.compile(r"^\| \d+ +\d+ +\| \d+ ")
KEYS = {  # of each question, those that have to be there
    "board -i {npu} -c {chip}": ["Chip Type", "Chip Name", "PCIe Bus Info", "Board ID"],
    "board -i {npu}": ["NPU ID", "Software Version", "Firmware Version", "PCIe Bus Info", "PCI Vendor ID",
                       "Chip Count"],
    "usages -i {npu} -c {chip}": ["NPU ID", "DDR Capacity(MB)", "DDR Usage Rate(%)", "Aicore Usage Rate(%)", "Chip ID"],
    "usages -i {npu}": ["NPU ID", "Chip Count", "Chip ID"],
    "common -i {npu}": ["Memory Usage Rate(%)", "Aicore Usage Rate(%)", "Aicore Freq(MHZ)", "Aicore Count",
                        "Temperature(C)"],
    "proc-mem -i {npu} -c {chip}": ["Process id/memory(MB)"],
    "health -i {npu}": ["Health Status"], "temp -i {npu}": ["NPU Temperature (C)"],
    "power -i {npu}": ["Power Dissipation(W)"],
}


def first_chip(case) -> tuple[str, str]:
    """Return the NPU id and the chip id of the first chip that `npu-smi info -m` names."""
    rows = re.findall(r"^\s*(\d+)\s+(\d+)\s+\d+", case.run("npu-smi info -m").stdout, re.M)
    assert rows, "npu-smi info -m names no chip"
    return rows[0]


def test_table(case):
    """`npu-smi info`, the command of all the originals."""
    lines = case.do("npu_smi.info", "npu-smi info").stdout.strip().splitlines()
    case.sees("npu_smi.width", sorted({len(line) for line in lines}), [106])
    case.sees("npu_smi.title", lines[1], re.compile(r"^\| npu-smi \S+ .*Version: \S+ +\|$"))
    case.sees("npu_smi.columns", [len(part) for part in lines[2].strip("+").split("+")], [31, 17, 54])
    headers = [re.findall(r"[^|\s]+", line) for line in lines[3:5]]
    case.sees("npu_smi.header_of_npu", headers[0],
              ["NPU", "Name", "Health", "Power(W)", "Temp(C)", "Hugepages-Usage(page)"])
    case.sees("npu_smi.header_of_chip", headers[1], ["Chip", "Device", "Bus-Id", "AICore(%)", "Memory-Usage(MB)"])
    rows = [line for line in lines[5:] if re.match(r"\| \d", line) and not PROCESS.match(line)]
    case.sees("npu_smi.rows_of_npu", rows[0] if rows else "none",
              re.compile(r"^\| \d+ +\w+ +\| \w+ +\| (NA|[\d.]+) +\d+ +\d+ +/ \d+ +\|$"))
    case.sees("npu_smi.rows_of_chip", rows[1] if rows[1:] else "none",
              re.compile(r"^\| \d+ +\d+ +\| [\dA-F]{4}:[\dA-F]{2}:[\dA-F]{2}\.\d +\| \d+ +\d+ */ *\d+ +\|$"))


def test_process_table(case):
    text = case.do("npu_smi.info", "npu-smi info").stdout
    header = re.search(r"^\| NPU +Chip +\|.*Process.*$", text, re.M)
    case.sees("npu_smi.process_header", " ".join(header[0].split()) if header else "none",
              "| NPU Chip | Process id | Process name | Process memory(MB) |")
    below = [line for line in text[header.end():].splitlines() if line.startswith("| ")] if header else []
    odd = sum(not PROCESS.match(line) and IDLE not in line for line in below)
    case.sees("npu_smi.process_rows", f"{odd} lines that are neither a process nor the sentence of an idle NPU",
              re.compile("^0 lines"))


def test_list(case):
    text = case.do("npu_smi.list", "npu-smi info -l").stdout
    missing = [key
               for key in ("Total Count", "NPU ID", "Chip Count") if not re.search(rf"^\s*{key} +: \d+", text, re.M)]
    case.sees("npu_smi.list", missing, [])
    odd = [line for line in text.splitlines() if line.strip() and not re.fullmatch(r"\t.{31}: .*", line)]
    case.sees("npu_smi.list_layout", (odd or ["none"])[0], "none")


def test_mapping(case):
    header, *rows = case.do("npu_smi.mapping", "npu-smi info -m").stdout.strip("\n").splitlines()
    case.sees("npu_smi.mapping_header", re.split(r"\s{2,}", header.strip()),
              ["NPU ID", "Chip ID", "Chip Logic ID", "Chip Name"])
    names = [re.split(r"\s{2,}", row.strip())[-1] for row in rows if row.strip()]
    case.sees("npu_smi.mapping_names", sorted(set(names)), ["Ascend 310P3", "Mcu"])
    logic = sorted(int(cells[-2]) for cells in (re.split(r"\s{2,}", row.strip()) for row in rows) if cells[-2:-1]
                   and cells[-2].isdigit())
    case.sees("npu_smi.logic_ids", logic == list(range(len(logic))), True)


@pytest.mark.parametrize("question", KEYS,
                         ids=[question.replace(" -i {npu}", "").replace(" -c {chip}", "_chip") for question in KEYS])
def test_question(case, question):
    npu, chip = first_chip(case)
    text = case.do("npu_smi.questions", f"npu-smi info -t {question.format(npu=npu, chip=chip)}").stdout
    case.sees("npu_smi.keys", [key for key in KEYS[question] if not re.search(rf"^\s*{re.escape(key)} *:", text, re.M)],
              [])
    if question.startswith("usages"):
        case.sees("npu_smi.no_hbm", "HBM" in text, False)
    if question.startswith("proc-mem") and not re.search(r"\d+/\d+", text):
        case.sees("npu_smi.idle", text, re.compile(r"No process in device\."))


@pytest.mark.parametrize("arguments",
                         ["info -t nonsense -i {npu}", "info -t board", "info -x", "info -t board -i 65534"],
                         ids=["type", "no_npu", "flag", "npu"])
def test_refusal(case, arguments):
    done = case.run(f"npu-smi {arguments.format(npu=first_chip(case)[0])}")
    case.sees("npu_smi.refusals", done.returncode != 0, True)


@pytest.mark.parametrize("arguments", ["-h", "--help", "-v"])
def test_usage(case, arguments):
    done = case.do("npu_smi.usage", f"npu-smi {arguments}")
    case.sees("npu_smi.usage", "npu-smi" in done.stdout, True)
