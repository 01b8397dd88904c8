"""Which chips this machine has and whether they are idle, as npu-smi tells it. Needs nothing but Python."""
import re
import subprocess
from dataclasses import dataclass

from npukit.errors import Unavailable, UserError


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
            found.append(Chip(logic, npu, chip, cells[numbers].removeprefix("Ascend").strip()))
    if not found:
        raise Unavailable("npu-smi shows no chip; check the driver and that the container was given a /dev/davinci device")
    return sorted(found, key=lambda chip: chip.logic_id)


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
        raise Unavailable(f"device {device} is busy with process {', '.join(processes)}; timings are taken on an idle device")


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
