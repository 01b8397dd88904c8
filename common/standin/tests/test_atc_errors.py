"""atc where it fails in ways of the stand-in's own; ../conformance/test_atc_errors.py has what the real one does."""
import re
import runpy
from pathlib import Path

import onnx
import pytest
from graphs import ATC, FAILED, FIRST, FLOAT, IDS, save, tagger

CONFORMANCE = Path(__file__).parents[1] / "conformance"


def code_of(result):
    """Return the error code, after checking the layout of a failure: exit status, lines, order."""
    lines = result.stdout.splitlines()
    assert result.returncode == 255
    assert lines[0] == FIRST
    after = lines[lines.index(FAILED) + 1]
    return re.match(r"(E\d{5}): ", after)[1]


REFUSED = [  # what the stand-in has not, or says in words of its own
    ("--mode=3", "E10055", "not 3"),
    ("--framework=3", "E10055", "ONNX"),
    ("--soc_version=310P3", "E10001", "Did you mean Ascend310P3?"),
    ("--keep_dtype=keep.txt", "E10003", "no operator named nobody"),
    ("--insert_op_conf=list.json", "E10055", "--insert_op_conf"),
    ("--dynamic_image_size='1,1;2,2'", "E10055", "no image gears"),
    ("--mode=6 --om=real.om", "E13005", "real NPU"),
]


@pytest.mark.parametrize("options, code, words", REFUSED)
def test_refused_command_lines(options, code, words, run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=("n", "l"))
    (tmp_path / "list.json").write_text("{}")
    (tmp_path / "keep.txt").write_text("nobody\n")
    (tmp_path / "real.om").write_bytes(b"IMOD" + bytes(100))
    result = run(f"atc {options}" if "--om" in options else f"{ATC} {IDS} {options}")
    assert (code_of(result), result.stderr) == (code, "")
    assert words in result.stdout
    assert not (tmp_path / "m.om").exists()


def test_every_missing_operator_is_named(run, tmp_path):
    save(tmp_path / "m.onnx", [("Loop", "x", "a"), ("Scan", "a", "y")], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    text = run(ATC).stdout
    assert "ai.onnx::11::Loop." in text and "TraceBack (most recent call last):" in text and "::Scan" in text


def test_a_place_that_cannot_be_written(run, tmp_path):
    """A file where kernel_meta belongs stops it even as root, whom no permission stops."""
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    (tmp_path / "kernel_meta").write_text("")
    assert code_of(run(ATC)) == "E13004"
    assert not (tmp_path / "m.om").exists()


def test_a_graph_beyond_2_gib(monkeypatch):
    """No test has 2 GiB of weights, so the limit comes to the model."""
    from standin.atc import compiler, onnx_model
    from standin.atc.errors import AtcError

    monkeypatch.setattr(onnx_model, "PROTOBUF_LIMIT", 10)
    with pytest.raises(AtcError) as caught:
        compiler.serialize(onnx.ModelProto(producer_name="longer than that"), "m")
    assert caught.value.block().startswith("E13023: ") and "exceeds system limit of 10 bytes" in caught.value.block()


def test_every_error_code_has_a_failing_case():
    from standin.atc.errors import TEMPLATES

    cases = runpy.run_path(str(CONFORMANCE / "test_atc_errors.py"))
    tested = {"E10036", "E16002"} | {code for _, code, *_ in (
        *REFUSED, *cases["COMMAND_ERRORS"], *cases["MODEL_ERRORS"].values(), *cases["OM_ERRORS"])}
    assert set(TEMPLATES) - tested == {"E13023"}, "E13023 has a test of its own"
