"""npu-smi info as several drivers print it, and what is to be read from it.

Composed after the layouts of reports from users (hosts with 300I Pro and 300I Duo cards, drivers 22.0 to 26): widths, headings
and columns are theirs, values invented. `EXPECTED` holds (NPU id, chip id, device, name, Bus-Id, MB used, MB total) and processes.
"""
WIDE = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi {version}                                   Version: {version}                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
{chips}
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
{processes}
+===============================+=================+======================================================+
"""


def chip(npu: int, chip: int, device: int, bus: str, memory: str, name: str = "310P3", health: str = "OK",
         power: str = "NA") -> str:
    """Return the two lines of one chip; memory as `used / total`, however it is spaced."""
    return (f"| {npu:<8}{name:<22}| {health:<16}| {power:<13}45                0     / 0             |\n"
            f"| {chip:<8}{device:<22}| {bus:<16}| 0            {memory:<40}|")


def wide(*chips: str, processes: str = "| No running processes found in NPU 0 |", version: str = "25.2.0") -> str:
    rule = f"\n+{'-' * 31}+{'-' * 17}+{'-' * 54}+\n"
    return WIDE.format(version=version, chips=rule.join(chips), processes=processes)


DUO = [chip(0, 0, 0, "0000:01:00.0", "1529 / 44280"), chip(0, 1, 1, "0000:01:00.0", "2412 / 43693")]
PRO = chip(32768, 0, 2, "0000:81:00.0", "1848 / 21525")
READ_DUO = [(0, 0, 0, "310P3", "0000:01:00.0", 1529, 44280), (0, 1, 1, "310P3", "0000:01:00.0", 2412, 43693)]
READ_PRO = (32768, 0, 2, "310P3", "0000:81:00.0", 1848, 21525)
NARROW = """\
+------------------------------------------------------------------------------+
| npu-smi 22.0.0                       Version: 22.0.3                         |
+-------------------+-----------------+----------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)   Hugepages-Usage |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)          |
+===================+=================+========================================+
| 0       310P3     | OK              | 15.4         43                0    / 0              |
| 0       0         | 0000:02:00.0    | 0            1626 / 21527                            |
+===================+=================+========================================+
"""
NEWEST = """\
+---------------------------------------------------------------------------------------------------------------------+
| npu-smi 26.1.0                                   Version: 26.1.0                                                    |
+-------------------------------+-----------------+-------------------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page)              |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                                     |
+===============================+=================+===================================================================+
| 4       310P3                 | OK              | NA           51                0     / 0                          |
| 0       0                     | 0000:81:00.0    | 37           9002 / 44280                                         |
+===============================+=================+===================================================================+
| NPU     Chip                  | Process id      | Process id in container | Process name | Process memory(MB)          |
+===============================+=================+===================================================================+
| 4       0                     | 4711            | 17                      |              | 7473                        |
+===============================+=================+===================================================================+
"""
HBM = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4               | OK            | 85.1        36                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          2842 / 32768         |
+===========================+===============+====================================================+
| 1     910B4               | OK            | 85.9        37                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          2843 / 32768         |
+===========================+===============+====================================================+
"""
BUSY = "| 0       1                     | 12345           | python3                  | 883                       |"
TWO = f"{BUSY}\n| 0       1                     | 12399           | ais_bench                | 21                        |"
NO_SPACES = "\n".join(line.replace("  ", " ") for line in wide(*DUO, PRO).splitlines())

OPAQUE = [0, 32, 32768, 32800]

TABLES = {  # what is printed; what is to be read; the processes on each chip
    "22.0, narrow, power in figures": (NARROW, [(0, 0, 0, "310P3", "0000:02:00.0", 1626, 21527)], [[]]),
    "25.2, a Duo and a Pro": (wide(*DUO, PRO), [*READ_DUO, READ_PRO], [[], [], []]),
    "25.2, a process": (wide(*DUO, processes=BUSY), READ_DUO, [[], [(12345, "python3")]]),
    "25.2, two processes": (wide(*DUO, processes=TWO), READ_DUO, [[], [(12345, "python3"), (12399, "ais_bench")]]),
    "26.1, ids in the container, no name": (NEWEST, [(4, 0, 0, "310P3", "0000:81:00.0", 9002, 44280)], [[(4711, "")]]),
    "the used memory touches the slash": (wide(chip(0, 0, 0, "0000:01:00.0", "19435/ 21527")),
                                          [(0, 0, 0, "310P3", "0000:01:00.0", 19435, 21527)], [[]]),
    "ids 0, 32, 32768, 32800": (wide(*(chip(n, 0, d, f"0000:{d:02x}:00.0", "1 / 2") for d, n in enumerate(OPAQUE))),
                                [(n, 0, d, "310P3", f"0000:{d:02x}:00.0", 1, 2) for d, n in enumerate(OPAQUE)],
                                [[]] * 4),
    "one card whose id is 32896": (wide(chip(32896, 0, 0, "0000:c1:00.0", "1529 / 44280")),
                                   [(32896, 0, 0, "310P3", "0000:c1:00.0", 1529, 44280)], [[]]),
    "ids 4 and 5, devices the other way round": (
        wide(chip(4, 0, 1, "0000:01:00.0", "1 / 2"), chip(5, 0, 0, "0000:02:00.0", "3 / 4")),
        [(4, 0, 1, "310P3", "0000:01:00.0", 1, 2), (5, 0, 0, "310P3", "0000:02:00.0", 3, 4)], [[], []]),
    "a sick chip": (wide(chip(7, 0, 0, "0000:01:00.0", "1 / 2", health="Alarm")),
                    [(7, 0, 0, "310P3", "0000:01:00.0", 1, 2)], [[]]),
    "a bus id of eight digits, upper case": (wide(chip(2, 0, 0, "00000000:8A:00.0", "1 / 2")),
                                             [(2, 0, 0, "310P3", "00000000:8a:00.0", 1, 2)], [[]]),
    "the name with its family": (wide(chip(2, 0, 0, "0000:01:00.0", "1 / 2", name="Ascend310P3")),
                                 [(2, 0, 0, "310P3", "0000:01:00.0", 1, 2)], [[]]),
    "fewer blanks": (NO_SPACES, [*READ_DUO, READ_PRO], [[], [], []]),
    "a 910B: no device column, HBM": (HBM, [(0, 0, 0, "910B4", "0000:c1:00.0", 2842, 32768),
                                            (1, 0, 1, "910B4", "0000:01:00.0", 2843, 32768)], [[], []]),
    "a warning first, no process table": ("WARNING: the tool is newer than the driver\n"
                                          + wide(PRO).split("| NPU     Chip")[0],
                                          [READ_PRO], [[]]),
    "nothing": ("", [], []),
    "no driver": ("dcmi module initialize failed. ret is -8005", [], []),
}
