"""Which chips this machine has, whether they are idle and may be opened, as npu-smi and /dev tell it. Needs nothing but Python."""
from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from npukit.errors import Unavailable, UserError

DEV = Path("/dev")


@dataclass(frozen=True)
class Chip:
    """One chip. NPU ids are opaque and not 0..n-1; the logic id is what ACL and --device count by."""

    logic_id: int
    npu_id: int
    chip_id: int
    name: str  # 310P3


def chips() -> list[Chip]:
    """Return the chips of `npu-smi info -m`, by logic id; MCU rows, which have none, are left out."""
    answer = npu_smi("info", "-m")
    numbers = 4 if "Phy-ID" in answer else 3  # newer tools print the physical id as well
    found = []
    for row in answer.splitlines():
        cells = row.split(maxsplit=numbers)
        if len(cells) > numbers and all(cell.isdigit() for cell in cells[:numbers]):
            npu, chip, logic = map(int, cells[:3])
            found.append(Chip(logic, npu, chip, re.sub("^Ascend", "", cells[numbers]).strip()))
    if not found:
        raise Unavailable("npu-smi shows no chip; check the driver and that the container was given a /dev/davinci device")
    return sorted(found, key=lambda chip: chip.logic_id)


@dataclass
class Row:
    """One chip of `npu-smi info`: what can be seen of it, and the processes on it as (id, name)."""

    npu_id: int
    chip_id: int
    device: int  # the logic id; counted where the table has no such column
    name: str
    health: str
    bus_id: str
    used_mb: int
    total_mb: int
    processes: list[tuple[int, str]]


BUS_ID = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]")


def table(text: str) -> list[Row]:
    """Return the chips of `npu-smi info`, told by what stands in the cells: widths and columns differ between versions.

    A chip has two lines, `NPU Name | Health | Power ...` and `Chip Device | Bus-Id | AICore Memory ...`; a process has one,
    `NPU Chip | Process id | name | ...`.
    """
    rows, above = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        numbers = re.fullmatch(r"(\d+)(?:\s+(\d+))?", cells[0])
        if len(cells) < 3:
            continue
        if named := re.fullmatch(r"(\d+)\s+((?:Ascend ?)?\d+[A-Z]\w*)", cells[0]):
            above = int(named[1]), re.sub("^Ascend ?", "", named[2]), cells[1]
        elif above and numbers and BUS_ID.fullmatch(cells[1]):
            memory = re.findall(r"(\d+)\s*/\s*(\d+)", cells[2])
            used, total = next((pair for pair in memory if int(pair[1])),
                               ("0", "0"))  # HBM chips have an empty DDR column
            rows.append(Row(above[0], int(numbers[1]), int(numbers[2] or len(rows)), above[1], above[2],
                            cells[1].lower(),
                            int(used), int(total), []))
        elif numbers and numbers[2] and cells[1].isdigit():
            for row in rows:
                if (row.npu_id, row.chip_id) == (int(numbers[1]), int(numbers[2])):
                    row.processes.append((int(cells[1]),
                                          next((cell for cell in cells[2:] if cell and not cell.isdigit()), "")))
    return rows


def soc_version() -> str:
    """Return the --soc_version of this machine's chips, as the originals read it off npu-smi by hand."""
    names = {chip.name for chip in chips()}
    if len(names) > 1:
        raise UserError(f"this machine has chips {' and '.join(sorted(names))}; say which with SOC=Ascend<name>")
    return f"Ascend{names.pop()}"


def require_idle(device: int) -> None:
    """Raise Unavailable, naming the processes, if anything runs on the device: a timing would be worth nothing."""
    chip = next((chip for chip in chips() if chip.logic_id == device), None)
    if chip is None:
        raise UserError(f"there is no device {device}; this machine has {', '.join(str(c.logic_id) for c in chips())}")
    answer = npu_smi("info", "-t", "proc-mem", "-i", str(chip.npu_id), "-c", str(chip.chip_id))
    processes = re.findall(r"Process id\D*?[:\s](\d+)", answer)
    if processes and "No process in device" not in answer:
        raise Unavailable(f"device {device} is busy with process {', '.join(map(who, processes))}; timings are taken on an idle device")


def who(pid: str, proc: Path = Path("/proc")) -> str:
    """Return a process id with the command and the user behind it, as far as they can be seen from here."""
    import pwd

    try:
        command = (proc / pid / "comm").read_text().strip()
        uid = (proc / pid).stat().st_uid
    except OSError:
        return pid
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid {uid}"
    return f"{pid} ({command} of {user})"


def nodes() -> list[Path]:
    """Return the chips' device nodes, /dev/davinci0 and so on, by number."""
    found = [path for path in DEV.glob("davinci*") if path.name[len("davinci"):].isdigit()]
    return sorted(found, key=lambda path: int(path.name[len("davinci"):]))


def require_node() -> None:
    """Raise Unavailable if no chip can be opened: there is no device node, or it is somebody else's."""
    found = nodes()
    if not found:
        raise Unavailable("there is no /dev/davinci device here; a container is given one with --device /dev/davinci0 "
                          "(or with ASCEND_VISIBLE_DEVICES=0 under the Ascend Docker Runtime)")
    if not any(os.access(node, os.R_OK | os.W_OK) for node in found):
        stat = found[0].stat()
        raise UserError(f"{found[0]} belongs to group {stat.st_gid} and uid {os.getuid()} may not open it; run the container with "
                        f"--group-add {stat.st_gid}, or join that group")


def npu_smi(*arguments: str) -> str:
    """Return what npu-smi prints."""
    try:
        done = subprocess.run(["npu-smi", *arguments], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise UserError("there is no npu-smi on PATH, so no Ascend driver; use SOC=cpu, or SOC=Ascend310P3 STANDIN=1") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("npu-smi did not answer within 60 s; the driver hangs") from None
    if done.returncode != 0:
        raise Unavailable(f"npu-smi {' '.join(arguments)} failed: {(done.stdout + done.stderr).strip()}")
    return done.stdout
