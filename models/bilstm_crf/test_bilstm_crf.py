"""The scripts as commands: the original README's steps by hand, and what they answer to a wrong call."""
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import scripts
from safetensors.numpy import load_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from cluener import TAGS
from npukit.corpus.batches import read_flat_outputs
from npukit.corpus.store import unpad
from npukit.errors import UserError

SCRIPTS = scripts.Scripts(HERE, "pth2onnx")
run, ran = SCRIPTS.run, SCRIPTS.ran
pth2onnx = SCRIPTS["pth2onnx"]

TINY = HERE.parents[1] / "data" / "tiny" / "bilstm_crf" / "dev.json"


def refused(folder, line):
    """Run a line that has to end in exit code 2 and one sentence; return the sentence."""
    done = run(folder, line)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with prep_data/, bilstm_dybs.onnx and transitions.npy, as the original's first two scripts leave it."""
    folder = tmp_path_factory.mktemp("inference")
    ran(folder, "python $here/preprocess.py --data $tiny/dev.json --max_seq_len 50 --output prep_data/")
    ran(folder, "python $here/pth2onnx.py --max_seq_len 50 --output ./bilstm_dybs.onnx")
    return folder


INFER = """
bash $here/atc.sh bilstm_dybs.onnx bilstm_{soc}_bs{bs} {bs} {soc}
rm -rf batches
bash $here/../../common/infer.sh bilstm_{soc}_bs{bs}.om prep_data results_{soc}_bs{bs} {bs} 0
"""
SCORE = "python $here/postprocess.py --infer_results results_{soc}_bs{bs} --annotations prep_data/label.txt"


@pytest.fixture(scope="module")
def printed(prepared):
    """What postprocess prints for each (soc, batch size); the features of each stay in features_<soc>_bs<N>.npy."""
    answers, lengths = {}, np.load(prepared / "prep_data" / "lengths.npy")
    for soc, bs in [("cpu", 1), ("cpu", 8), ("Ascend310P3", 8)]:
        ran(prepared, INFER.format(soc=soc, bs=bs))
        answers[soc, bs] = ran(prepared, SCORE.format(soc=soc, bs=bs))
        np.save(prepared / f"features_{soc}_bs{bs}.npy", read_flat_outputs(prepared / f"results_{soc}_bs{bs}", lengths))
    return answers


def features(folder, soc, bs):
    """Return the features of all characters, [characters, 33]; those of the padding mean nothing."""
    return np.load(folder / f"features_{soc}_bs{bs}.npy")


def test_the_files_are_the_originals(prepared):
    ran(prepared, "python3 -m npukit files --inputs prep_data --output prep_data/inputs")
    for name in ("input_ids", "input_mask"):
        files = sorted((prepared / "prep_data" / "inputs" / name).iterdir())
        assert [path.name for path in files] == [f"data_{n:08d}.npy" for n in range(24)]
        assert all(np.load(path).dtype == np.int64 and np.load(path).shape == (50,) for path in files)
    assert [json.loads(line)["data_index"] for line in (prepared / "prep_data" / "label.txt").open()] == list(range(24))
    assert np.load(prepared / "transitions.npy").shape == (33, 33)
    axes = onnx.load(prepared / "bilstm_dybs.onnx").graph.input[0].type.tensor_type.shape.dim
    assert (axes[0].dim_param, axes[1].dim_value) == ("bs", 50)


def test_answers_do_not_depend_on_the_batch_size(prepared, printed):
    assert printed["cpu", 1] == printed["cpu", 8]
    assert np.allclose(features(prepared, "cpu", 1), features(prepared, "cpu", 8), atol=1e-4)


def test_the_twin_calculates_in_half_precision(prepared, printed):
    difference = np.abs(features(prepared, "Ascend310P3", 8) - features(prepared, "cpu", 8)).max()
    assert 1e-4 < difference < 0.1
    assert printed["Ascend310P3", 8].startswith("metrics:\n")


def test_the_printed_layout_is_the_originals(printed):
    first, overall, heading, *by_category, strict = printed["cpu", 1].splitlines()
    assert (first, heading) == ("metrics:", "metrics of per category:")
    assert re.fullmatch(r"\{'acc': [0-9.]+, 'recall': [0-9.]+, 'f1': [0-9.]+\}", overall)
    categories = json.loads("\n".join(by_category))
    assert all(list(figures) == ["acc", "recall", "f1"] for figures in categories.values())
    assert re.fullmatch(r"strict_f1: [0-9.]+", strict), "ours, behind the original's"


# --- postprocess, on a case small enough to work out by hand

PRINTED = """\
metrics:
{'acc': 0.6666666666666666, 'recall': 0.5, 'f1': 0.5714285714285715}
metrics of per category:
{
    "name": {
        "acc": 1.0,
        "recall": 0.6667,
        "f1": 0.8
    },
    "movie": {
        "acc": 0.0,
        "recall": 0.0,
        "f1": 0.0
    }
}
strict_f1: 0.5714285714285715
"""


@pytest.fixture
def small_case(tmp_path):
    """Three sentences, four gold entities; of the three that are found two are right."""
    return written(tmp_path, found=[["B-name", "I-name", "O"], ["S-name", "O", "B-scene", "I-scene"], ["O", "O"]],
                   gold=[["B-name", "I-name", "O"], ["S-name", "O", "B-movie", "I-movie"], ["O", "S-name"]])


def written(tmp_path, found, gold):
    """Write results/, transitions.npy and label.txt of sentences whose best tags are found."""
    (tmp_path / "results").mkdir()
    for number, answer in enumerate(found):
        features = np.zeros((1, 5, 33), np.float32)
        features[0, np.arange(len(answer)), [TAGS.index(tag) for tag in answer]] = 10
        np.save(tmp_path / "results" / f"data_{number:08d}_0.npy", features)
    np.save(tmp_path / "transitions.npy", np.zeros((33, 33), np.float32))
    labels = [{"data_index": n, "tags": [sentence], "lens": [len(sentence)]} for n, sentence in enumerate(gold)]
    (tmp_path / "label.txt").write_text("".join(json.dumps(label) + "\n" for label in labels))
    return tmp_path


POSTPROCESS = "python $here/postprocess.py --infer_results results --annotations label.txt"


def test_postprocess_prints_what_the_original_prints(small_case):
    assert ran(small_case, POSTPROCESS) == PRINTED
    assert sorted(path.name for path in small_case.iterdir()) == ["label.txt", "results", "transitions.npy"]


def test_an_entity_with_another_categorys_tag_within_is_one_to_the_original_alone(tmp_path):
    within = ["B-book", "I-movie", "I-book"]
    written(tmp_path, found=[within, within], gold=[["B-book", "I-book", "I-book"], ["B-book", "I-book", "O"]])
    said = ran(tmp_path, POSTPROCESS)
    assert said.startswith("metrics:\n{'acc': 0.5, 'recall': 0.5, 'f1': 0.5}\n") and said.endswith("}\nstrict_f1: 0.0\n")


def labels(*lines):
    def damage(folder):
        (folder / "label.txt").write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return damage


def saved(name, array):
    return lambda folder: np.save(folder / name, array)


def label(index=0, tags=("O",), lens=1):
    return json.dumps({"data_index": index, "tags": [tags], "lens": [lens]})


DAMAGE = {
    "an output is missing": (lambda folder: (folder / "results" / "data_00000001_0.npy").unlink(),
                             "1 missing, 0 too many (data_00000001_0.npy)"),
    "an output too many": (saved("results/data_00000003_0.npy", np.zeros((1, 5, 33))),
                           "0 missing, 1 too many (data_00000003_0.npy)"),
    "an output of another shape": (saved("results/data_00000002_0.npy", np.zeros((1, 5, 31))),
                                   "data_00000002_0.npy is [1, 5, 31]"),
    "an output cut short": (lambda folder: (folder / "results" / "data_00000002_0.npy").write_bytes(b"\x93NUMPY"),
                            "data_00000002_0.npy is not a whole .npy file"),
    "no outputs": (lambda folder: shutil.rmtree(folder / "results"), "results is not there; run the infer stage first"),
    "no transitions": (lambda folder: (folder / "transitions.npy").unlink(),
                       "transitions.npy is not there; pth2onnx.py writes it"),
    "other transitions": (saved("transitions.npy", np.zeros((31, 31))), "holds an array [31, 31]; expected transitions [33, 33]"),
    "transitions cut short": (lambda folder: (folder / "transitions.npy").write_bytes(b""),
                              "transitions.npy is not a whole .npy file"),
    "no annotations": (lambda folder: (folder / "label.txt").unlink(), "label.txt is not there; preprocess.py writes it"),
    "empty annotations": (labels(), "label.txt is empty; run preprocess again"),
    "annotations that are no JSON": (labels(label(), "{"), "label.txt:2: expected data_index 1"),
    "annotations in another encoding": (labels(b"\xff\xfe"), "label.txt:1: expected data_index 0"),
    "annotations out of order": (labels(label(), label(2)), "label.txt:2: expected data_index 1"),
    "a sentence without tags": (labels(label(tags=None)), "label.txt:1: expected"),
    "a sentence of no length": (labels(label(tags=(), lens=0)), "label.txt:1: expected"),
    "a length that is not its tags'": (labels(label(tags=("O", "O"))), "label.txt:1: expected"),
    "an unknown tag": (labels(label(tags=("B-person",))), "label.txt:1: expected"),
    "tags that are numbers": (labels(label(tags=(1,))), "label.txt:1: expected"),
    "no object": (labels("[]"), "label.txt:1: expected"),
    "a key less": (labels('{"data_index": 0, "tags": [["O"]]}'), "label.txt:1: expected"),
}


@pytest.mark.parametrize("damage, reason", DAMAGE.values(), ids=DAMAGE)
def test_postprocess_names_what_is_damaged(small_case, damage, reason):
    damage(small_case)
    assert reason in refused(small_case, POSTPROCESS)


def test_outputs_too_short_for_the_annotations(small_case):
    for number in range(3):
        np.save(small_case / "results" / f"data_{number:08d}_0.npy", np.zeros((1, 3, 33), np.float32))
    assert "holds features [3, 33]; expected at least [4, 33]" in refused(small_case, POSTPROCESS)


def test_a_report_needs_its_run(small_case):
    assert "--report needs --run" in refused(small_case, f"{POSTPROCESS} --report report.json")


# --- preprocess and pth2onnx


def test_bad_input_stops_with_its_line(tmp_path):
    (tmp_path / "dev.json").write_text(TINY.read_text() + '{"text": "", "label": {}}\n')
    said = refused(tmp_path, "python $here/preprocess.py --data dev.json --output .")
    assert said == "preprocess.py: dev.json:25: the text is empty; expected at least one character"
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("unknown, warned", [(1, False), (2, True)])
def test_above_five_percent_of_unknown_characters_a_warning(tmp_path, unknown, warned):
    text = "\u4e2d" * (20 - unknown) + "\U00020000" * unknown
    (tmp_path / "dev.json").write_text(json.dumps({"text": text, "label": {}}))
    done = run(tmp_path, "python $here/preprocess.py --data dev.json --output .")
    corpus = json.loads((tmp_path / "manifest.json").read_text())["corpus"]
    assert done.returncode == 0 and corpus["unknown_share"] == unknown / 20
    assert ("warning: 10.0% of the text is unknown to the vocabulary ([UNK])" in done.stderr) is warned


def test_bad_input_is_counted_and_listed_where_it_is_skipped(tmp_path):
    lone = '{"text": "a", "label": {"name": {"\\ud800": [[0, 0]]}}}'  # half a character, which no file can hold
    (tmp_path / "dev.json").write_text(f"{{\n{TINY.read_text()}{lone}\n")
    ran(tmp_path, "python $here/preprocess.py --data dev.json --output . --on_bad_input skip")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["samples"], manifest["corpus"]["samples"]) == (24, 26)
    assert [reason.split(": ")[0] for reason in manifest["corpus"]["skipped"]] == ["dev.json:1", "dev.json:26"]


@pytest.mark.parametrize("line, reason", [
    ("python $here/preprocess.py --data no.json --output .", "no.json is not there; fetch the corpus"),
    ("python $here/preprocess.py --data $tiny/dev.json --output . --max_seq_len 10", "characters, the model takes 10"),
    ("python $here/preprocess.py --data $tiny/dev.json --output . --max_seq_len -1", "characters, the model takes -1"),
    ("python $here/preprocess.py --data $tiny/dev.json --output . --vocab no.txt", "no.txt is not there"),
    ("python $here/preprocess.py --data $tiny/dev.json --output /proc/nowhere", "/proc/nowhere"),
    ("python $here/preprocess.py --data $tiny/dev.json --out .", "required: --output"),
    ("python $here/pth2onnx.py --checkpoint random --output a.onnx", "--checkpoint random needs --inputs")])
def test_a_wrong_call_is_answered_in_a_sentence(tmp_path, line, reason):
    assert reason in refused(tmp_path, line)


@pytest.mark.parametrize("flags, reason", [
    ("--checkpoint no.bin", r"no\.bin is not there"), ("--inputs nowhere", r"nowhere/manifest\.json is not there"),
    ("--inputs other_vocabulary", r"with a vocabulary of 6, the weights have \d+ characters; preprocess with the vocabulary"),
    ("--inputs prep_data --max_seq_len 60", "are 50 long, the graph takes 60; give preprocess and pth2onnx the same")])
def test_what_does_not_belong_together_is_not_exported(prepared, monkeypatch, flags, reason):
    (prepared / "six.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n的\n", encoding="utf-8")
    ran(prepared, "[ -e other_vocabulary ] || python $here/preprocess.py --data $tiny/dev.json --output other_vocabulary --vocab six.txt")
    monkeypatch.chdir(prepared)
    monkeypatch.setattr(sys, "argv", ["pth2onnx.py", "--output", "refused.onnx", *flags.split()])
    with pytest.raises(UserError, match=reason):
        pth2onnx.main()
    assert not (prepared / "ledger.json").exists()


@pytest.mark.long
def test_random_weights_answer_with_many_classes(prepared):
    ran(prepared, "mkdir random; python $here/pth2onnx.py --checkpoint random --output random/a.onnx --inputs prep_data")
    weights, folder = load_file(prepared / "random" / "weights.safetensors"), prepared / "random"
    assert weights["classifier.weight"].shape == (33, 768) and weights["embedding.weight"].shape[1] == 128
    reference = np.load(folder / "reference.npy")
    logits = unpad(reference, np.load(prepared / "prep_data" / "lengths.npy"))
    assert np.bincount(logits.argmax(1)).max() <= 0.7 * len(logits) and logits.std(0).min() >= 1
    assert json.loads((folder / "weights.json").read_text())["kind"] == "random"
    torch_row, onnx_row = json.loads((folder / "ledger.json").read_text())
    assert (torch_row["stage"], onnx_row["stage"]) == ("torch", "onnx") and onnx_row["metrics"] == torch_row["metrics"]
    assert onnx_row["fidelity"]["flips"] == 0 and onnx_row["fidelity"]["max_abs"] <= onnx_row["fidelity"]["tolerance"]
