"""A second personality of the stand-in: a copy with planted differences, each an edit of its source.

    python common/standin/tests/personality.py COPY_OF_common/standin      plants them all

What first light has to find on it, and nothing else, stands in PLANTED.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

VERSION, LACKS, WRONG = "the version differs", "the chip lacks it", "the stand-in is wrong"


@dataclass(frozen=True)
class Planted:
    """One difference: the facts that it is seen under, its class, and the edits (file, old, new) that make it."""

    facts: set[str]
    kind: str
    edits: tuple[tuple[str, str, str], ...]


PLANTED = {
    "an older first line": Planted({"atc.first_line"}, VERSION, (
        ("standin/atc/main.py", "please wait for a moment.", "please wait for a moment..."),)),
    "an older throughput line": Planted({"ais_bench.throughput_line"}, VERSION, (
        ("ais_bench/infer/benchmark.py", 'Dialect("batchsize.mean"', 'Dialect("batchsize"'),)),
    "a line of the log that came later": Planted({"ais_bench.log_lines"}, VERSION, (
        ("aclruntime/session.py", '        logger.info("create new context")\n', ""),)),
    "other column widths": Planted({"npu_smi.columns"}, VERSION, (
        ("standin/npu_smi.py", "COLUMNS = 31, 17, 54\n", "COLUMNS = 19, 17, 66\n"),)),
    "the code of an older registry": Planted({"atc.no_parser", "atc.opset_range"}, VERSION, (
        ("standin/atc/errors.py", '"E16002": (', '"E19010": ('),
        ("standin/atc/onnx_model.py", 'fail("E16002"', 'fail("E19010"'))),
    "brackets round the values": Planted({"atc.error_texts"}, VERSION, (
        ("standin/atc/errors.py", "Opname {opname} specified in --{parameter}",
         "Opname [{opname}] specified in [--{parameter}]"),)),
    "a missing option of an older ais_bench": Planted({"ais_bench.pipeline"}, VERSION, (
        ("ais_bench/infer/arguments.py", '    add("--pipeline", type=boolean, default=False,',
         '    it.set_defaults(pipeline=False)\n'
         '    add("--no_such_option", type=boolean, default=False,'),)),
    "a missing option": Planted({"atc.display_model_info"}, LACKS, (
        ("standin/atc/flags.py", 'else name.replace("-", "_")',
         'else name.replace("-", "_").replace("display_model_info", "no_such")'),)),
    "another mode of the om": Planted({"atc.om_mode"}, WRONG, (("standin/om.py", "0o600), \"wb\"", "0o644), \"wb\""),)),
    "another error code": Planted({"atc.error_codes"}, WRONG, (
        ("standin/atc/shapes.py", 'fail("E10009")',
         'fail("E10047", first="dynamic_dims", second="dynamic_batch_size")'),)),
    "wrong rounding": Planted({"fp16.rounds_add"}, WRONG, (
        ("standin/fp16.py", "SELECTS = frozenset({\n", 'SELECTS = frozenset({\n    "Add",\n'),)),
    "a slower gear": Planted({"gears.cost_rises"}, WRONG, (
        ("standin/runtime.py", "outputs = self._session.run(None, feeds)\n",
         "outputs = self._session.run(None, feeds)\n            time.sleep(0.5 if self.gear == (192,) else 0)\n"),)),
}


def plant(standin: Path) -> None:
    """Edit a copy of common/standin; every edit has to fit once."""
    for planted in PLANTED.values():
        for name, old, new in planted.edits:
            path = standin / name
            text = path.read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
            path.write_text(text.replace(old, new), encoding="utf-8")


if __name__ == "__main__":
    plant(Path(sys.argv[1]))
