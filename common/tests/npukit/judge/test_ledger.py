"""The ledger: a line a form of the network, and a failure where a form is not the network any more."""
import hashlib
import json

import numpy as np
import pytest

from npukit.errors import JobFailed
from npukit.judge import ledger

LENGTHS = np.array([3, 1, 2])
INSIDE = np.arange(3) < LENGTHS[:, None]
TASK = ledger.Task(lambda answers: (answers[INSIDE], np.nonzero(INSIDE)[0]),
                   lambda answers: {"share": float((answers[INSIDE].argmax(1) == 1).mean())})
RANDOM = np.random.default_rng(5).normal(size=(3, 3, 4)).astype(np.float32)


def test_the_first_lines_are_pytorchs_and_the_exports(tmp_path):
    ledger.begin(tmp_path, TASK, RANDOM, RANDOM + np.float32(1e-6))
    torch, onnx = json.loads((tmp_path / "ledger.json").read_text())
    assert np.array_equal(np.load(tmp_path / "reference.npy"), RANDOM)
    assert torch["fidelity"] is None and torch["metrics"] == onnx["metrics"]
    assert 0 < onnx["fidelity"]["max_abs"] < 2e-6 and onnx["fidelity"]["flips"] == 0


def test_what_is_no_decision_is_not_judged(tmp_path):
    ledger.begin(tmp_path, TASK, RANDOM, np.where(INSIDE[..., None], RANDOM, 99))


@pytest.mark.parametrize("broken, said", [
    (RANDOM + np.float32(1e-2), "the onnx graph is not the network: largest difference from PyTorch"),
    (np.full_like(RANDOM, np.nan), "the onnx graph is not the network: values that are not finite is 24"),
    (RANDOM[:, ::-1], "largest difference")])
def test_a_form_that_is_not_the_network_fails_after_it_is_written_down(tmp_path, broken, said):
    with pytest.raises(JobFailed, match=said):
        ledger.begin(tmp_path, TASK, RANDOM, broken)
    assert json.loads((tmp_path / "ledger.json").read_text())[1]["stage"] == "onnx"


def test_a_failing_line_is_named(tmp_path):
    lines = [ledger.line("simplified", TASK, RANDOM, RANDOM), ledger.line("modified", TASK, -RANDOM, RANDOM)]
    with pytest.raises(JobFailed, match="the modified graph is not the network"):
        ledger.write(tmp_path / "ledger.json", lines)


def test_the_weights_are_written_down_with_their_digest(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"abc")
    ledger.write_weights(tmp_path, "random", tmp_path / "w.bin", 7)
    written = json.loads((tmp_path / "weights.json").read_text())
    assert written == {"kind": "random", "sha256": hashlib.sha256(b"abc").hexdigest(), "parameters": 7}
