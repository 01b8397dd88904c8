"""The scripts as commands: the original README's steps by hand, gears, the ledger, and faults that were planted."""
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import scripts
import sizes
import torch
from corpora import need
from onnx import helper, numpy_helper
from transformers import AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import sst2
from npukit import graph
from npukit.corpus import batches, wordpiece
from npukit.errors import BadSample, JobFailed, UserError
from npukit.files import sha256
from npukit.nets import bert
from npuops.assets import manifest as assets

SCRIPTS = scripts.Scripts(HERE, "preprocess", "pth2onnx", "modify_onnx", "postprocess")
call, run, ran = SCRIPTS.call, SCRIPTS.run, SCRIPTS.ran
TINY = ROOT / "data" / "tiny" / "bert_base_sst2"
SENTENCES = 24
INPUTS = ("input_ids", "attention_mask")
torch.set_num_threads(1)  # nothing here is large

PREPROCESS = "preprocess --text_file $tiny/dev.tsv --tokenizer_path $tiny --save_path data_bin --seq_len "


def prepare(folder, seq_len):
    call(folder, PREPROCESS + seq_len)
    call(folder, "pth2onnx --model_dir $tiny --random_weights --inputs data_bin --save_path bert.onnx")
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A folder with data_bin/, bert.onnx, reference.npy and ledger.json, for one length."""
    return prepare(tmp_path_factory.mktemp("fixed"), "128")


@pytest.fixture(scope="module")
def geared(tmp_path_factory):
    """The same for three lengths."""
    return prepare(tmp_path_factory.mktemp("geared"), "16,32,64")


@pytest.fixture
def copy(fixed, tmp_path):
    """A copy of `fixed` that a test may damage."""
    return shutil.copytree(fixed, tmp_path / "copy")


@pytest.fixture
def corpus(tmp_path):
    """Return a function that writes sentences to dev.tsv and returns the flags to preprocess it."""

    def write(*sentences):
        lines = [sst2.HEADER, *(f"{sentence}\t{n % 2}" for n, sentence in enumerate(sentences))]
        (tmp_path / "dev.tsv").write_text("".join(f"{line}\n" for line in lines))
        return f"preprocess --text_file {tmp_path}/dev.tsv --tokenizer_path $tiny --save_path {tmp_path}/data_bin "

    return write


# --- The original's commands

ORIGINALS = """
python3 $here/preprocess.py --text_file $tiny/dev.tsv --tokenizer_path $tiny --seq_len 128 --save_path data_bin
python3 $here/pth2onnx.py --model_dir model --save_path ./bert_base_sst2.onnx
python3 -m onnxsim ./bert_base_sst2.onnx ./bs8.onnx 0 --no-large-tensor --overwrite-input-shape \
    "input_ids:8,128" "attention_mask:8,128" --skip-optimization
python3 $here/modify_onnx.py bs8.onnx bs8_md.onnx
python3 -m npukit files --inputs data_bin --output data_bin
atc --model=./bs8_md.onnx --framework=5 --output=./bs8 --input_format=ND --log=error --soc_version=Ascend310P3 \
    --optypelist_for_implmode="Gelu" --op_select_implmode=high_performance
python3 -m ais_bench --model ./bs8.om --input ./data_bin/input_ids,./data_bin/attention_mask --output ./data_bin/ \
    --output_dirname output --outfmt NPY
python3 $here/postprocess.py --output_path ./data_bin/output --label_path ./data_bin/labels.json
"""


@pytest.mark.long
def test_the_originals_steps(fixed, tmp_path):
    net = bert.load("SequenceClassification", fixed / "weights", labels=2)
    net.save_pretrained(tmp_path / "model")
    said = ran(tmp_path, ORIGINALS)
    logits = np.concatenate([np.load(path) for path in sorted((tmp_path / "data_bin" / "output").glob("*.npy"))])
    labels = sst2.read_labels(tmp_path / "data_bin" / "labels.json")
    assert said.splitlines()[-1] == f"accuracy: {sst2.accuracy(logits, labels)}"
    reference = np.load(fixed / "reference.npy")
    difference = np.abs(logits - reference).max()
    assert 1e-4 < difference < 0.05 * np.abs(reference).max(), "the twin calculates in half precision"
    assert (logits.argmax(1) == reference.argmax(1)).mean() > 0.95


def test_the_files_are_the_originals(fixed, tmp_path):
    ran(tmp_path, f"python3 -m npukit files --inputs {fixed}/data_bin --output .")
    for name in INPUTS:
        files = sorted((tmp_path / name).iterdir())
        assert [path.name for path in files] == [f"data_{n:08d}.npy" for n in range(SENTENCES)]
        assert all(np.load(path).dtype == np.int64 and np.load(path).shape == (128,) for path in files)
    for number, (_, ids) in enumerate(encoded()):
        found, mask = (np.load(tmp_path / name / f"data_{number:08d}.npy") for name in INPUTS)
        assert found.tolist() == ids + [0] * (128 - len(ids))
        assert mask.tolist() == [1] * len(ids) + [0] * (128 - len(ids))
    model = onnx.load(fixed / "bert.onnx")
    assert [value.name for value in model.graph.input] == list(INPUTS) and [value.name for value in model.graph.output] == ["output"]


# --- preprocess


@functools.cache
def encoded():
    """Return every sentence of the tiny corpus and its ids, one by one."""
    tokenizer = wordpiece.load(TINY)
    return [(sentence, tokenizer.encode(sentence.text).ids) for sentence in sst2.read(TINY / "dev.tsv")]


@pytest.mark.parametrize("form", ["fixed", "geared"])
def test_the_samples_stand_flat_behind_one_another(request, form):
    folder = request.getfixturevalue(form) / "data_bin"
    lengths, ids, mask = (np.load(folder / f"{name}.npy") for name in ("lengths", *INPUTS))
    expected = [ids for _, ids in encoded()]
    assert lengths.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [number for row in expected for number in row] and mask.tolist() == [1] * sum(lengths)


@pytest.mark.parametrize("flags, seq_lens", [
    ("128", "128"), ("64,16,32", "16 32 64"), ("70", "70"), ("auto --gears 1", "63"), ("auto --gears 2", None), ("auto", None)])
def test_what_is_written_beside_the_inputs(tmp_path, flags, seq_lens):
    call(tmp_path, PREPROCESS + flags)
    manifest = json.loads((tmp_path / "data_bin" / "manifest.json").read_text())
    labels = json.loads((tmp_path / "data_bin" / "labels.json").read_text())
    found = (tmp_path / "data_bin" / "seq_lens.txt").read_text()
    assert labels == [sentence.label for sentence, _ in encoded()]
    assert (manifest["samples"], list(manifest["inputs"])) == (SENTENCES, list(INPUTS))
    assert manifest["corpus"] == {"name": "dev.tsv", "sha256": sha256(TINY / "dev.tsv"), "samples": SENTENCES, "skipped": [],
                                  "vocabulary": 100, "unknown_share": 0}
    if seq_lens:
        assert found == f"{seq_lens}\n"
    else:
        lengths = {len(ids) for _, ids in encoded()}
        chosen = [int(n) for n in found.split()]
        assert chosen == sorted(chosen) and set(chosen) <= lengths and chosen[-1] == max(lengths)
        assert len(chosen) == (2 if "2" in flags else min(8, len(lengths)))


@pytest.fixture
def uncased(tmp_path):
    """An uncased checkpoint of two layers as it was released before 2020: no tokenizer.json, tokenizer_config.json."""
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the acting was superb , a cafe in paris".split()
    folder = tmp_path / "uncased"
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    config = {**json.loads((TINY / "config.json").read_text()), "vocab_size": len(words)}
    (folder / "config.json").write_text(json.dumps(config))
    bert.load("SequenceClassification", folder, labels=2, seed=1).save_pretrained(folder)
    return folder


def test_an_uncased_checkpoint_reads_what_transformers_reads(tmp_path, corpus, uncased, capfd):
    text = "The ACTING was Superb, a Caf\u00e9 in PARIS"
    flags = corpus(text).replace("$tiny", str(uncased))
    call(tmp_path, flags + "--seq_len 16")
    oracle = AutoTokenizer.from_pretrained(uncased)
    assert oracle.decode(oracle(text)["input_ids"]) == "[CLS] the acting was superb, a cafe in paris [SEP]"
    assert np.load(tmp_path / "data_bin" / "input_ids.npy").tolist() == oracle(text)["input_ids"]
    call(tmp_path, f"pth2onnx --model_dir {uncased} --inputs data_bin --save_path bert.onnx")
    net = AutoModelForSequenceClassification.from_pretrained(uncased).eval()
    with torch.inference_mode():
        expected = net(**oracle(text, return_tensors="pt")).logits.numpy()
    assert np.allclose(np.load(tmp_path / "reference.npy"), expected, atol=1e-5)
    assert "warning" not in capfd.readouterr().err


@pytest.mark.parametrize("unknown, warned", [(1, False), (2, True)])
def test_above_five_percent_of_unknown_pieces_a_warning(tmp_path, corpus, capfd, unknown, warned):
    call(tmp_path, corpus(" ".join(["the"] * (20 - unknown) + ["\u20ac"] * unknown)) + "--seq_len 32")
    assert json.loads((tmp_path / "data_bin" / "manifest.json").read_text())["corpus"]["unknown_share"] == unknown / 20
    assert ("warning: 10.0% of the text is unknown to the vocabulary ([UNK])" in capfd.readouterr().err) is warned


@pytest.mark.parametrize("size", [1, 5, 24, 64])
def test_whole_batches(geared, tmp_path, size):
    ran(tmp_path, f"python3 -m npukit batch --inputs {geared}/data_bin --batch_size {size} --output .")
    order = np.load(tmp_path / "order.npy")
    assert sorted(order[order >= 0]) == list(range(SENTENCES)) and order.shape[1] == size
    all_ids = [ids for _, ids in encoded()]
    for number, rows in enumerate(order):
        ids, mask = (np.load(tmp_path / name / f"batch_{number:05d}.npy") for name in INPUTS)
        assert ids.shape[1] in (16, 32, 64)
        for row, found, seen in zip(rows, ids, mask):
            assert row < 0 or found[seen == 1].tolist() == all_ids[row]


def test_another_call_replaces_what_the_one_before_left(tmp_path):
    def written():
        return {path.name: path.read_bytes() for path in (tmp_path / "data_bin").iterdir()}

    fresh = {}
    for kind in ("128", "16,32,64"):
        call(tmp_path, PREPROCESS + kind)
        fresh[kind] = written()
        shutil.rmtree(tmp_path / "data_bin")
    for kind in ("128", "16,32,64", "128"):
        call(tmp_path, PREPROCESS + kind)
        assert written() == fresh[kind]


def test_a_sentence_longer_than_the_longest_length_is_refused_with_its_line(corpus, tmp_path):
    line = corpus("a film", "a b c d e f", "a")
    call(tmp_path, line + "--seq_len 8")
    for flags in ("--seq_len 7", "--seq_len 2,7", "--seq_len 4"):
        shutil.rmtree(tmp_path / "data_bin", ignore_errors=True)
        with pytest.raises(BadSample, match=r"dev\.tsv:3: the sentence has 8 word pieces, the longest --seq_len is \d; it is never"):
            call(tmp_path, line + flags)
        assert not (tmp_path / "data_bin").exists()


@pytest.mark.parametrize("flags, reason", [
    ("--seq_len 513", "--seq_len is '513', the model takes 512"), ("--seq_len 8,99999999999999999999", "the model takes 512"),
    ("--seq_len x", "expected auto, or lengths"), ("--seq_len 0", "1 to 100 lengths"), ("--seq_len auto --gears 0", "0 gears"),
    ("--seq_len auto --gears 101", "101 gears")])
def test_what_the_flags_cannot_mean(corpus, tmp_path, flags, reason):
    with pytest.raises(UserError, match=reason):
        call(tmp_path, corpus("a film", "a b c") + flags)


@pytest.mark.parametrize("line, reason", [
    ("preprocess --text_file no.tsv --tokenizer_path $tiny --save_path .", "no.tsv is not there"),
    ("preprocess --text_file $tiny/dev.tsv --tokenizer_path no --save_path .", "no holds neither vocab.txt nor tokenizer.json"),
    ("pth2onnx --model_dir $tiny --save_path a.onnx", "holds neither model.safetensors nor pytorch_model.bin"),
    ("pth2onnx --model_dir $tiny --inputs no --save_path a.onnx", "manifest.json is not there"),
    ("pth2onnx --model_dir $tiny --random_weights --save_path a.onnx", "--random_weights needs --inputs"),
    ("modify_onnx no.onnx out.onnx", "no.onnx"),
    ("postprocess --output_path no --label_path no.json", "no.json is not there")])
def test_a_wrong_call_is_answered_in_a_sentence(tmp_path, line, reason):
    with pytest.raises(UserError, match=reason):
        call(tmp_path, line)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags, reason", [
    ("--text_file $tiny/vocab.txt --save_path .", r"preprocess\.py: \S+/vocab\.txt:1: expected the header"),
    ("--text_file $tiny/dev.tsv --sqe_len 8 --save_path .", r"preprocess\.py: error: unrecognized arguments: --sqe_len 8")])
def test_the_command_ends_with_2_and_one_sentence(tmp_path, flags, reason):
    done = run(tmp_path, f"python3 $here/preprocess.py --tokenizer_path $tiny {flags}")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.match(reason, done.stderr.splitlines()[-1]) and not list(tmp_path.iterdir())


# --- pth2onnx and modify_onnx


def ledger(path):
    return {row["stage"]: row for row in json.loads(path.read_text())}


def test_random_weights_answer_with_both_labels(fixed):
    logits = np.load(fixed / "reference.npy")
    share = np.bincount(logits.argmax(1)) / SENTENCES
    assert share.max() <= 0.7 and logits.std(0).min() >= 1
    weights = json.loads((fixed / "weights.json").read_text())
    assert len(weights["sha256"]) == 64 and weights["parameters"] == sizes.bert_of("SequenceClassification", 2, TINY)


def test_the_reference_is_pytorch_one_by_one(fixed, geared):
    """Within what fp32 is judged by: how a batch's sums are rounded is the processor's own."""
    net = bert.load("SequenceClassification", fixed / "weights", labels=2)
    with torch.inference_mode():
        alone = [net(torch.tensor([ids])).logits[0].numpy() for _, ids in encoded()]
    for folder in (fixed, geared):
        assert np.abs(np.load(folder / "reference.npy") - alone).max() <= 1e-4 * max(1, np.abs(alone).max())


def test_other_inputs_than_the_weights_are_for(copy):
    (copy / "model").mkdir()
    config = json.loads((TINY / "config.json").read_text())
    (copy / "model" / "config.json").write_text(json.dumps({**config, "vocab_size": 101}))
    with pytest.raises(UserError, match="has embeddings for 101 word pieces, the tokenizer of the inputs has 100"):
        call(copy, "pth2onnx --model_dir model --random_weights --inputs data_bin --save_path a.onnx")
    np.save(copy / "reference.npy", np.load(copy / "reference.npy")[:-1])
    with pytest.raises(UserError, match=r"holds 24 samples, reference\.npy beside bert\.onnx 23 answers"):
        call(copy, MODIFY.format(bs=1))


MODIFY = "modify_onnx bert.onnx model.onnx --batch_size {bs} --inputs data_bin"


@pytest.fixture(scope="module")
def modified(fixed, geared):
    """A function: the folder where modify_onnx left model.onnx for (form, batch size)."""
    made = {}

    def make(form, bs):
        if (form, bs) not in made:
            folder = {"fixed": fixed, "geared": geared}[form]
            call(folder, f"modify_onnx bert.onnx bs{bs}/model.onnx --batch_size {bs} --inputs data_bin")
            made[form, bs] = folder
        return made[form, bs]

    return make


@pytest.mark.parametrize("form, bs, shape", [("fixed", 1, [1, 128]), ("fixed", 8, [8, 128]), ("geared", 8, [8, None])])
def test_the_modified_graph(modified, form, bs, shape):
    folder = modified(form, bs) / f"bs{bs}"
    model = graph.load(folder / "model.onnx")
    graph.assert_canonical(model)
    for value in model.graph.inputs:
        assert [dim if isinstance(dim, int) else None for dim in value.shape] == shape
    constants = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert all(np.abs(c).max() <= np.finfo(np.float16).max for c in constants if c.dtype == np.float32 and c.size)
    rows = ledger(folder / "ledger.json")
    assert list(rows) == ["simplified", "modified"]
    for row in rows.values():
        assert row["fidelity"]["max_abs"] <= row["fidelity"]["tolerance"] and row["fidelity"]["flips"] == 0


INFER = """
bash $here/atc.sh bs{bs}/model.onnx bs{bs}/{soc} {bs} {soc} data_bin/seq_lens.txt
bash $here/../../common/infer.sh bs{bs}/{soc}.om data_bin out_{soc}_bs{bs} {bs} 0
"""


@pytest.fixture(scope="module")
def answers(modified):
    """A function: the logits of (form, soc, batch size) and what postprocess printed, in the order of the corpus."""
    made = {}

    def make(form, soc, bs):
        if (form, soc, bs) not in made:
            folder = modified(form, bs)
            ran(folder, "rm -rf batches;" + INFER.format(soc=soc, bs=bs))
            made[form, soc, bs] = batches.read_outputs(folder / f"out_{soc}_bs{bs}", SENTENCES)
        return made[form, soc, bs]

    return make


@pytest.mark.parametrize("form, bs", [("fixed", 1), ("fixed", 8), ("geared", 1), ("geared", 8)])
def test_answers_are_pytorchs_at_every_batch_size_in_gears_and_without(fixed, answers, form, bs):
    reference, logits = np.load(fixed / "reference.npy"), answers(form, "cpu", bs)
    assert np.abs(logits - reference).max() <= 1e-4 * max(1, np.abs(reference).max()), "in the order of the corpus"
    assert np.array_equal(logits.argmax(1), answers("fixed", "cpu", 1).argmax(1))
    assert len(np.unique(reference[:, 0])) > SENTENCES // 2, "or the order would not show"


@pytest.mark.parametrize("form", ["fixed", "geared"])
def test_the_twin_keeps_its_decisions(fixed, answers, form):
    reference, logits = np.load(fixed / "reference.npy"), answers(form, "Ascend310P3", 8)
    assert np.isfinite(logits).all() and np.abs(logits - reference).max() > 1e-4
    assert (logits.argmax(1) == reference.argmax(1)).all()


# --- Planted faults: each costs something, and is caught by the stage that it is in


def initializer(model, name):
    return next(value for value in model.graph.initializer if value.name.endswith(name))


def negated_head(model):
    weight = initializer(model, "classifier.weight")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))


def dropped_mask(model):
    """Let the graph see every token, padding included, whatever it is told."""
    for node in model.graph.node:
        node.input[:] = ["seen" if name == "attention_mask" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.int64(1), "one"))
    model.graph.node.insert(0, helper.make_node("Max", ["attention_mask", "one"], ["seen"]))


def coarse_layer(model):
    """Round one matrix to a tenth, as a calibration gone wrong would."""
    matrix = next(value for value in model.graph.initializer if value.dims == [32, 64])
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix).round(1), matrix.name))


def damaged(path, damage):
    """Damage a graph in its place."""
    model = onnx.load(path)
    damage(model)
    onnx.save(model, path)


@pytest.mark.parametrize("damage", [negated_head, coarse_layer])
def test_a_damaged_export_is_caught(copy, damage):
    damaged(copy / "bert.onnx", damage)
    with pytest.raises(JobFailed, match=r"the simplified graph is not the network: .* \(worst sample \d+\)"):
        call(copy, MODIFY.format(bs=8))
    assert ledger(copy / "ledger.json")["simplified"]["fidelity"]["max_abs"] > 1e-2, "what it cost is written down"


def test_a_mask_that_masks_nothing_is_no_mask(copy):
    damaged(copy / "bert.onnx", dropped_mask)
    with pytest.raises(JobFailed, match=r"pass additive_mask on simplified\.onnx: .* is no padding mask of attention_mask"):
        call(copy, MODIFY.format(bs=8))
    assert not (copy / "model.onnx").exists()


@pytest.mark.parametrize("damage", [negated_head, dropped_mask, coarse_layer])
def test_an_export_that_is_not_the_network_is_caught(copy, monkeypatch, damage):
    whole = bert.export

    def export(net, inputs, outputs, path):
        whole(net, inputs, outputs, path)
        damaged(path, damage)

    monkeypatch.setattr(bert, "export", export)
    with pytest.raises(JobFailed, match="the onnx graph is not the network: "):
        call(copy, "pth2onnx --model_dir $tiny --random_weights --inputs data_bin --save_path bert.onnx")
    assert ledger(copy / "ledger.json")["onnx"]["fidelity"]["max_abs"] > 1e-2


def zeroed(wanted):
    """Return a pass with a bug: it sets the first constant of this kind to zero."""
    @graph.graph_pass
    def careless(model):
        value = next(value for value in model.graph.initializers.values() if wanted(value))
        value.const_value = ir.tensor(np.zeros_like(value.const_value.numpy()), name=value.name)
        return f"zeroed {value.name}"
    return careless


CARELESS = {"the mask is dropped": zeroed(lambda value: value.name.startswith("mask_floor")),
            "a layer is rounded away": zeroed(lambda value: list(value.shape) == [64, 32])}


@pytest.mark.parametrize("careless", CARELESS.values(), ids=CARELESS)
@pytest.mark.parametrize("form", ["fixed", "geared"])
def test_a_pass_that_changes_the_answers_is_caught(fixed, geared, tmp_path, monkeypatch, form, careless):
    folder = shutil.copytree({"fixed": fixed, "geared": geared}[form], tmp_path / "copy")
    monkeypatch.setattr(SCRIPTS["modify_onnx"], "PASSES", [*SCRIPTS["modify_onnx"].PASSES, careless])
    with pytest.raises(JobFailed, match="the modified graph is not the network: "):
        call(folder, MODIFY.format(bs=8))
    rows = ledger(folder / "ledger.json")
    assert rows["simplified"]["fidelity"]["flips"] == 0 and rows["simplified"]["fidelity"]["max_abs"] < 1e-3
    assert rows["modified"]["fidelity"]["max_abs"] > rows["modified"]["fidelity"]["tolerance"]


# --- Through make, with a report


def make(out, *flags):
    """Run make for this model on the tiny profile; return the CompletedProcess."""
    environment = {**os.environ, "MAKEFLAGS": "", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["make", "-C", HERE, f"VENV={sys.prefix}", f"OUT_ROOT={out}", "BS=8", "LOOP=1", *flags],
                          capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module", params=["SEQ_LENS=128", "SEQ_LENS=auto SOC=Ascend310P3 STANDIN=1"], ids=["fixed", "twin in gears"])
def made(request, tmp_path_factory):
    """(folder of a finished run, whether it is the twin)."""
    out = tmp_path_factory.mktemp("out")
    done = make(out, *request.param.split(), "GEARS=3", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = out.glob("*/tiny/bert_base_sst2/bs8")
    return folder, "STANDIN" in request.param


def judge(folder, report):
    """Run postprocess again on a run's outputs; return the report."""
    call(folder, f"postprocess --output_path {folder}/infer/outputs --label_path {folder.parent}/inputs/labels.json "
                 f"--run {folder} --loop 1 --report {report}")
    return json.loads(report.read_text())


@pytest.mark.long
def test_the_report(made):
    folder, twin = made
    report = json.loads((folder / "postprocess" / "report.json").read_text())
    assert [row["stage"] for row in report["ledger"]] == ["torch", "onnx", "simplified", "modified", "om"]
    assert (report["precision"], report["standin"], report["batch_size"]) == ("fp16" if twin else "fp32", True, 8)
    assert report["passes"] and all(gate["passes"] for gate in report["gates"])
    assert report["seq_lens"] == ([32, 64] if twin else [128]) and report["samples"] == SENTENCES
    assert [row["length"] for row in report.get("fusions", [])] == ([32, 64] if twin else []), "a CPU fuses nothing"
    assert report["weights"]["kind"] == "random" and report["corpus"]["vocabulary"] == 100
    answers = (folder / "postprocess" / "predictions.jsonl").read_text().split()
    accuracy = np.mean([int(answer) == sentence.label for answer, (sentence, _) in zip(answers, encoded())])
    assert report["metrics"]["accuracy"] == pytest.approx(accuracy) and len(answers) == SENTENCES


@pytest.mark.long
def test_swapped_answers_fail_the_report(made, tmp_path):
    folder, twin = made
    folder = shutil.copytree(folder.parents[3], tmp_path / "out") / folder.relative_to(folder.parents[3])
    answers = np.load(folder.parent / "pth2onnx" / "reference.npy").argmax(1)
    assert judge(folder, tmp_path / "report.json")["passes"]
    order = np.load(folder / "infer" / "batches" / "order.npy")
    places = []  # of a sentence of each label: its file and its row there
    for label in (0, 1):
        number, row = np.argwhere((answers[order] == label) & (order >= 0))[0]
        places.append((folder / "infer" / "outputs" / f"batch_{number:05d}_0.npy", row))
    swapped = [np.load(path)[row] for path, row in reversed(places)]
    for (path, row), logits in zip(places, swapped):
        batch = np.load(path)
        batch[row] = logits
        np.save(path, batch)
    report = judge(folder, tmp_path / "report.json")
    assert not report["passes"]
    failed = [gate["name"] for gate in report["gates"] if not gate["passes"]]
    assert failed == (["clear decisions kept from PyTorch fp32"] if twin else ["largest difference from PyTorch", "flipped decisions"])


# --- The weights that are shipped


TRAINED = HERE / "trained"
AT_LEAST = 0.80  # accuracy on dev


def test_the_card_describes_what_is_shipped():
    card = json.loads((TRAINED / "card.json").read_text())
    assert card["weights"] == sha256(TRAINED / "model.safetensors") and (TRAINED / "model.safetensors").stat().st_size < 12e6
    released = {asset.to: asset.sha256 for asset in assets.manifest(HERE / "assets.toml")}
    read = {"train": "SST-2/train.tsv", "dev": "SST-2/dev.tsv", "vocabulary": "bert-base-cased/vocab.txt"}
    assert {name: card[name] for name in read} == {name: released[file] for name, file in read.items()}
    assert len(card["curve"]) == card["epochs"] and card["curve"][-1]["dev_accuracy"] >= AT_LEAST


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as `geared`, of the shipped weights on the released dev part."""
    folder, corpus = tmp_path_factory.mktemp("trained"), need("sst2/dev.tsv")
    tokenizer = need("tokenizers/bert-base-cased/vocab.txt").parent
    call(folder, f"preprocess --text_file {corpus} --tokenizer_path {tokenizer} --save_path data_bin --seq_len auto --gears 4")
    call(folder, f"pth2onnx --model_dir {TRAINED} --inputs data_bin --save_path bert.onnx --kind trained")
    return folder


def test_the_shipped_weights_answer(trained):
    card, rows = json.loads((TRAINED / "card.json").read_text()), ledger(trained / "ledger.json")
    assert json.loads((trained / "weights.json").read_text()) == {
        "kind": "trained", "sha256": card["weights"], "parameters": sizes.bert_of("SequenceClassification", 2, TRAINED)}
    accuracy = rows["torch"]["metrics"]["accuracy"]
    assert accuracy >= AT_LEAST and accuracy == pytest.approx(card["curve"][-1]["dev_accuracy"], abs=0.003), "rounded to half precision"
    assert rows["onnx"]["metrics"]["accuracy"] == pytest.approx(accuracy, abs=1e-9) and rows["onnx"]["fidelity"]["flips"] == 0


def test_a_fault_that_costs_accuracy_is_caught(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    damaged(folder / "bert.onnx", negated_head)
    with pytest.raises(JobFailed, match="the simplified graph is not the network"):
        call(folder, MODIFY.format(bs=8))
    assert ledger(folder / "ledger.json")["simplified"]["metrics"]["accuracy"] < 0.5


def test_the_original_s_speed_stands_beside_its_own_size_alone():
    task, large = "SequenceClassification", {}
    assert sizes.stands_beside(HERE, sizes.bert(task, 2, **large))
    assert not sizes.stands_beside(HERE, sizes.bert(task, 2, **large | {"num_hidden_layers": 11})), "a layer less"
    assert not sizes.stands_beside(HERE, sizes.bert(task, 2, **large | {"num_hidden_layers": 2}))
    assert not sizes.stands_beside(HERE, sizes.bert_of(task, 2, TINY))
    assert not sizes.stands_beside(HERE, sizes.bert_of(task, 2, TRAINED))
