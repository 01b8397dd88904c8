"""What the released corpus has to give, read from the reports that .ci/run has just made."""
import json
from pathlib import Path

import pytest

OUT = Path(__file__).parents[1] / "out"
ORIGINAL_F1 = 0.714  # the original README's, on CLUENER's dev.json


def report(chip: str, profile: str, batch_size: int, model: str = "bilstm_crf") -> dict:
    return json.loads((OUT / chip / profile / model / f"bs{batch_size}" / "postprocess" / "report.json").read_text())


@pytest.mark.parametrize("chip, batch_size", [("cpu", 1), ("cpu", 32), ("Ascend310P3-standin", 32)])
def test_f1_reaches_the_originals(chip, batch_size):
    made = report(chip, "released", batch_size)
    assert made["passes"] and made["standin"]
    assert (made["samples"], made["metrics"]["gold"]) == (1343, 3072)
    assert made["metrics"]["f1"] >= ORIGINAL_F1


def test_predictions_do_not_depend_on_the_batch_size():
    assert report("cpu", "released", 1)["predictions_sha256"] == report("cpu", "released", 32)["predictions_sha256"]


def test_random_weights_answer_with_many_classes():
    made = report("cpu", "random", 8)
    assert made["passes"] and made["weights"]["kind"] == "random"
    assert made["metrics"]["predicted"] > 100  # entities: an untrained head would find none


@pytest.mark.parametrize("chip, batch_size", [("cpu", 1), ("cpu", 8), ("Ascend310P3-standin", 8)])
def test_the_small_bert_is_right_four_times_out_of_five(chip, batch_size):
    made = report(chip, "trained", batch_size, "bert_base_sst2")
    assert made["passes"] and made["samples"] == 872 and made["metrics"]["accuracy"] >= 0.80


def test_full_size_bert_keeps_its_answers_through_every_form():
    made = report("cpu", "random", 8, "bert_base_sst2")
    assert [entry["stage"] for entry in made["ledger"]] == ["torch", "onnx", "simplified", "modified", "om"]
    assert made["passes"] and made["weights"]["kind"] == "random" and len(made["seq_lens"]) == 8


def test_full_size_spanbert_gives_pytorchs_answers():
    made = report("cpu", "random", 8, "spanbert")
    assert [entry["stage"] for entry in made["ledger"]] == ["torch", "onnx", "simplified", "modified", "om"]
    assert made["passes"] and made["fidelity"]["clear_agreement"] == 1 and len(made["seq_lens"]) == 4
    assert made["metrics"] == made["reference"] and made["corpus"]["name"] == "dev-v1.1.json, 24 of 10570 questions, evenly spread"
