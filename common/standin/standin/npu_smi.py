"""The `npu-smi` command: what chips there are, in the layout of driver 25.2 on a host with 310P chips.

The chips are invented, or planted: NPUKIT_STANDIN_NPU_SMI names a JSON file with a list of
    {"id": 0, "chip": 0, "name": "310P3", "health": "OK", "bus": "0000:01:00.0", "aicore": 0,
     "memory": [1529, 44280], "processes": [{"pid": 12345, "name": "python3", "memory": 883}]}
in which only id and chip are needed. An empty list is a host whose driver does not answer. NPU ids are not 0, 1, 2 ...
on purpose: real ones are not either, and whoever counts instead of reading them should notice here.
Only the standard library is imported: scripts call this often.
"""
from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

VERSION = "25.2.0"
MARK = "(npukit stand-in)"  # fits into the title without moving its columns
PLANTED = "NPUKIT_STANDIN_NPU_SMI"
DEFAULT = [{"id": 0, "chip": 0, "bus": "0000:01:00.0", "memory": [1529, 44280]},
           {"id": 0, "chip": 1, "bus": "0000:01:00.0", "memory": [1508, 43693]},
           {"id": 32768, "chip": 0, "bus": "0000:81:00.0", "memory": [1848, 21525]}]
WIDTH = 104  # between the outer bars
COLUMNS = 31, 17, 54
PROCESS_COLUMNS = 31, 17, 26, 27  # of the rows; the rules between them are those of the first box
NO_DRIVER = "dcmi module initialize failed. ret is -8005"
USAGE = """usage: npu-smi info [-l | -m | -t TYPE -i NPU_ID [-c CHIP_ID]]
TYPE: board, usages, common, proc-mem, health, temp, power"""
KEY = 31  # width of the keys of -t
FAILED = 1


@dataclass
class Chip:
    """One chip; logic is its index over all NPUs, the number that ACL and --device count by."""

    id: int
    chip: int
    logic: int
    name: str = "310P3"
    health: str = "OK"
    bus: str = "0000:01:00.0"
    aicore: int = 0
    memory: tuple[int, int] = (1529, 44280)  # used, total MB
    power: str = "NA"
    temp: int = 45
    processes: tuple[dict, ...] = ()


class Refused(Exception):
    """A command that npu-smi does not carry out; the text is printed, the exit status is 1."""


def main(arguments: list[str]) -> int:
    """Run npu-smi and return the exit status."""
    try:
        print(answer(arguments))
    except Refused as error:
        print(error)
        return FAILED
    return 0


def answer(arguments: list[str]) -> str:
    """Return what npu-smi prints."""
    if not arguments or arguments[0] in ("-h", "--help"):
        return USAGE
    if arguments[0] in ("-v", "--version"):
        return f"npu-smi version: {VERSION} {MARK}"
    if arguments[0] == "set":
        raise Refused("Operation not permitted: the npukit stand-in has no device to change.")
    if arguments[0] != "info":
        raise Refused(f"Error parameter of {arguments[0]}\n{USAGE}")
    chips = read_chips()
    given = read_options(arguments[1:])
    if given.keys() == {"-l"}:
        return listing(chips)
    if given.keys() == {"-m"}:
        return mapping(chips)
    if "-t" in given and "-i" in given:
        return detail(chips, given["-t"], given["-i"], given.get("-c"))
    if given:
        raise Refused(f"Error parameter of {' '.join(given)}\n{USAGE}")
    return table(chips)


def read_options(words: list[str]) -> dict[str, str]:
    """Read -l, -m, and -t, -i, -c with their values."""
    given, waiting = {}, list(words)
    while waiting:
        word = waiting.pop(0)
        if word in ("-l", "-m"):
            given[word] = ""
        elif word in ("-t", "-i", "-c") and waiting:
            given[word] = waiting.pop(0)
        else:
            raise Refused(f"Error parameter of {word}\n{USAGE}")
    return given


def read_chips() -> list[Chip]:
    """Return the chips of this host, sorted by NPU and chip id; raise Refused where there are none."""
    path = os.environ.get(PLANTED)
    try:
        planted = json.loads(Path(path).read_text(encoding="utf-8")) if path else DEFAULT
        planted = sorted(planted, key=lambda chip: (chip["id"], chip["chip"]))
        chips = [Chip(logic=logic, **chip) for logic, chip in enumerate(planted)]
    except FileNotFoundError:
        chips = []
    except (ValueError, TypeError, KeyError) as error:
        raise Refused(f"{PLANTED}={path} is no list of chips ({error!r}); expected [{{\"id\": 0, \"chip\": 0}}, ...], "
                      "see standin/npu_smi.py") from None
    if not chips:
        raise Refused(NO_DRIVER)
    return chips


def by_npu(chips: list[Chip]) -> dict[int, list[Chip]]:
    """Return the chips of each NPU."""
    npus = {}
    for chip in chips:
        npus.setdefault(chip.id, []).append(chip)
    return npus


def table(chips: list[Chip]) -> str:
    """Return the two boxes of `npu-smi info`: chips, then processes."""
    title = f"npu-smi {VERSION} {MARK}"
    lines = [f"+{'-' * WIDTH}+", f"| {title:<49}{'Version: ' + VERSION:<{WIDTH - 50}}|", rule("-", COLUMNS),
             row(COLUMNS, "NPU     Name", "Health", "Power(W)     Temp(C)           Hugepages-Usage(page)"),
             row(COLUMNS, "Chip    Device", "Bus-Id", "AICore(%)    Memory-Usage(MB)"), rule("=", COLUMNS)]
    for members in by_npu(chips).values():
        for chip in members:
            used, total = chip.memory
            lines += [row(COLUMNS, f"{chip.id:<8}{chip.name}", chip.health,
                          f"{chip.power:<13}{chip.temp:<18}0     / 0"),
                      row(COLUMNS, f"{chip.chip:<8}{chip.logic}", chip.bus, f"{chip.aicore:<13}{used} / {total}"),
                      rule("-", COLUMNS)]
        lines[-1] = rule("=", COLUMNS)
    return "\n".join(lines + processes(chips))


def processes(chips: list[Chip]) -> list[str]:
    """Return the lines of the process table: rows for busy chips, a sentence for each idle NPU."""
    lines = [rule("-", COLUMNS),
             row(PROCESS_COLUMNS, "NPU     Chip", "Process id", "Process name", "Process memory(MB)"),
             rule("=", COLUMNS)]
    for npu, members in by_npu(chips).items():
        rows = [row(PROCESS_COLUMNS, f"{npu:<8}{chip.chip}", process["pid"], process.get("name", ""),
                    process.get("memory", "")) for chip in members for process in chip.processes]
        lines += rows or [f"| {f'No running processes found in NPU {npu}':<{WIDTH - 1}}|"]
        lines.append(rule("=", COLUMNS))
    return lines


def rule(line: str, columns: tuple[int, ...]) -> str:
    """Return a line across the box."""
    return "+" + "+".join(line * width for width in columns) + "+"


def row(columns: tuple[int, ...], *cells) -> str:
    """Return a row of the box, one cell a column."""
    return "|" + "|".join(f" {cell!s:<{width - 1}}" for cell, width in zip(cells, columns)) + "|"


def listing(chips: list[Chip]) -> str:
    """Return `npu-smi info -l`: the NPUs and how many chips each has."""
    npus = by_npu(chips)
    blocks = [f"{line('Total Count', len(npus))}\n"]
    blocks += [f"{line('NPU ID', npu)}\n{line('Chip Count', len(members))}\n" for npu, members in npus.items()]
    return "\n".join(blocks)


def mapping(chips: list[Chip]) -> str:
    """Return `npu-smi info -m`: NPU id, chip id, logic id and name; each NPU's MCU has no logic id."""
    lines = ["\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Name"]
    for npu, members in by_npu(chips).items():
        rows = [(npu, chip.chip, chip.logic, f"Ascend {chip.name}") for chip in members]
        rows.append((npu, len(members), "-", "Mcu"))
        lines += ["\t" + "".join(f"{cell!s:<31}" for cell in cells).rstrip() for cells in rows]
    return "\n".join(lines)


def detail(chips: list[Chip], kind: str, npu: str, chip: str | None) -> str:
    """Return `npu-smi info -t kind -i npu [-c chip]`."""
    members = [each for each in chips if str(each.id) == npu and chip in (None, str(each.chip))]
    if not members:
        known = ", ".join(f"-i {each.id} -c {each.chip}" for each in chips)
        raise Refused(f"Invalid device: -i {npu}{f' -c {chip}' if chip else ''}. There are: {known}")
    if kind not in ("board", *KINDS):
        raise Refused(f"Error parameter of -t\n{USAGE}")
    lines = [line("NPU ID", npu)]
    if kind == "board":  # of the card, or of one chip on it
        facts = npu_board(members) if chip is None else chip_board(members[0])
        return "\n".join([*lines, *(line(key, value) for key, value in facts)])
    if chip is None:
        lines.append(line("Chip Count", len(members)))
    for each in members:
        lines += ["", *(line(key, value) for key, value in KINDS[kind](each)), line("Chip ID", each.chip)]
    return "\n".join(lines)


def line(key: str, value) -> str:
    """Return one fact of -l and -t."""
    return f"\t{key:<{KEY}}: {value}"


def npu_board(members: list[Chip]):
    """Return the facts of the card that the chips sit on."""
    return [("Software Version", f"{VERSION} {MARK}"), ("Firmware Version", "NA"), ("Compatibility", "OK"),
            ("Board ID", "0x64"), ("PCB ID", "NA"), ("BOM ID", "1"), ("PCIe Bus Info", members[0].bus),
            ("Slot ID", "NA"), ("PCI Vendor ID", "0x19E5"), ("PCI Device ID", "0xD500"), ("Chip Count", len(members))]


def chip_board(chip: Chip):
    """Return the facts of one chip: the place that scripts read the chip's name from."""
    return [("Chip ID", chip.chip), ("Chip Type", "Ascend"), ("Chip Name", chip.name), ("Chip Version", "V1"),
            ("Board ID", "0x64"), ("PCB ID", "NA"), ("BOM ID", "1"), ("PCIe Bus Info", chip.bus), ("Slot ID", "NA")]


def usages(chip: Chip):
    """Return how much of the chip is in use."""
    used, total = chip.memory
    return [("DDR Capacity(MB)", total), ("DDR Usage Rate(%)", used * 100 // total),
            ("DDR Hugepages Total(page)", 0), ("DDR Hugepages Usage Rate(%)", 0),
            ("Aicore Usage Rate(%)", chip.aicore), ("Aicpu Usage Rate(%)", 0), ("Ctrlcpu Usage Rate(%)", 0),
            ("DDR Bandwidth Usage Rate(%)", 0)]


def common(chip: Chip):
    """Return load, clock, temperature and power."""
    used, total = chip.memory
    return [("Memory Usage Rate(%)", used * 100 // total), ("Hugepages Usage Rate(%)", 0),
            ("Aicore Usage Rate(%)", chip.aicore), ("Aicore Freq(MHZ)", 1080), ("Aicore curFreq(MHZ)", 1080),
            ("Aicore Count", 8), ("Temperature(C)", chip.temp), ("NPU Real-time Power(W)", chip.power)]


def process_memory(chip: Chip):
    """Return what runs on the chip: the test for an idle device."""
    if not chip.processes:
        return [("Process id/memory(MB)", "No process in device.")]
    return [("Process id/memory(MB)", f"{process['pid']}/{process.get('memory', 0)}") for process in chip.processes]


KINDS = {"usages": usages, "common": common, "proc-mem": process_memory,
         "health": lambda chip: [("Health Status", chip.health), ("Error Code", "NA")],
         "temp": lambda chip: [("NPU Temperature (C)", chip.temp)],
         "power": lambda chip: [("Power Dissipation(W)", chip.power)]}
