"""The scripts as commands: the OM route by hand and through make, both routes' gates, and faults that were planted."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import scripts
import sizes
import torch
from onnx import numpy_helper

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import conll2003
import recipes
from npukit import graph
from npukit.corpus import wordpiece
from npukit.errors import JobFailed, UserError
from npukit.nets import bert

SCRIPTS = scripts.Scripts(HERE, "preprocess", "pth2onnx", "modify_onnx", "postprocess", "bench_corpus")
call, ran = SCRIPTS.call, SCRIPTS.ran
TINY = ROOT / "data" / "tiny" / "bert_large_ner"
SAMPLES = 25  # of 23 sentences, one of them in three windows
torch.set_num_threads(1)  # nothing here is large

PREPROCESS = "preprocess --input_file $tiny/test.txt --model_name_from_hub $tiny "


def prepare(folder, flags):
    call(folder, PREPROCESS + flags)
    call(folder, "pth2onnx --model $tiny --random_weights --inputs bert_bin")
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A folder with bert_bin/, model.onnx, reference.npy and ledger.json, for one length."""
    return prepare(tmp_path_factory.mktemp("fixed"), "--seq_len 512")


@pytest.fixture(scope="module")
def geared(tmp_path_factory):
    """The same for three lengths, the longest too short for one sentence: it has more windows."""
    return prepare(tmp_path_factory.mktemp("geared"), "--seq_len 16,32,64")


def ledger(path):
    return {row["stage"]: row for row in json.loads(path.read_text())}


# --- preprocess


def encoded(longest=512, recipe="npukit"):
    return recipes.encode(TINY, conll2003.read(TINY / "test.txt"), wordpiece.load(TINY), recipe, longest)


def test_another_text_is_not_called_the_released_corpus(fixed, tmp_path, monkeypatch, capsys):
    corpus = json.loads((fixed / "bert_bin" / "manifest.json").read_text())["corpus"]
    assert corpus["released"] is False
    monkeypatch.setattr(conll2003, "RELEASED", corpus["sha256"])
    capsys.readouterr()
    call(tmp_path, PREPROCESS)
    assert json.loads((tmp_path / "bert_bin" / "manifest.json").read_text())["corpus"]["released"] is True
    assert "is not the released" not in capsys.readouterr().out
    monkeypatch.undo()
    call(tmp_path, PREPROCESS)
    assert "test.txt is not the released CoNLL-2003" in capsys.readouterr().out


@pytest.mark.parametrize("form, longest", [("fixed", 512), ("geared", 64)])
def test_the_samples_stand_flat_behind_one_another(request, form, longest):
    folder, made = request.getfixturevalue(form) / "bert_bin", encoded(longest)
    lengths, *arrays = (np.load(folder / f"{name}.npy") for name in ("lengths", *recipes.INPUTS))
    assert lengths.tolist() == list(map(len, made.rows)) and np.array_equal(np.load(folder / "words.npy"), made.words)
    assert (len(made.rows) == SAMPLES) == (form == "fixed") and (max(lengths) == 64) == (form == "geared")
    assert arrays[0].tolist() == [number for row in made.rows for number in row] and arrays[1].all() and not arrays[2].any()


def test_the_files_are_the_originals(fixed, tmp_path):
    ran(tmp_path, f"python3 -m npukit files --inputs {fixed}/bert_bin --output .")
    for number, ids in enumerate(encoded().rows):
        found, mask, types = (np.load(tmp_path / name / f"data_{number:08d}.npy") for name in recipes.INPUTS)
        assert found.dtype == np.int64 and found.tolist() == ids + [0] * (512 - len(ids))
        assert mask.tolist() == [1] * len(ids) + [0] * (512 - len(ids)) and types.tolist() == [0] * 512


@pytest.mark.parametrize("recipe, samples", [("npukit", SAMPLES), ("original", 23)])
def test_the_manifest(tmp_path, capsys, recipe, samples):
    call(tmp_path, PREPROCESS + f"--recipe {recipe} --seq_len auto --gears 4")
    corpus = json.loads((tmp_path / "bert_bin" / "manifest.json").read_text())["corpus"]
    assert {name: corpus[name] for name in ("documents", "sentences", "tokens", "entities", "samples", "recipe", "vocabulary")} == {
        "documents": 4, "sentences": 23, "tokens": 508, "entities": 96, "samples": samples, "recipe": recipe, "vocabulary": 194}
    said = capsys.readouterr()
    assert said.out == (f"4 documents, 23 sentences, 508 tokens, 96 entities, {samples} samples; {TINY}/test.txt "
                        "is not the released CoNLL-2003\n")
    assert (corpus["unknown_share"] > 0.05) == ("of the text is unknown" in said.err) == (recipe == "original")
    assert len((tmp_path / "bert_bin" / "seq_lens.txt").read_text().split()) == 4


@pytest.mark.parametrize("line, reason", [
    (PREPROCESS + "--seq_len 513", "the model takes 512"), (PREPROCESS + "--seq_len 2", "holds no word piece"),
    ("preprocess --input_file no.txt --model_name_from_hub $tiny", "no.txt is not there; CoNLL-2003 may not be shipped"),
    ("preprocess --input_file $tiny/test.txt --model_name_from_hub no", "--model_name_from_hub is a Hugging Face directory"),
    ("preprocess --input_file $tiny/vocab.txt --model_name_from_hub $tiny", r"vocab\.txt:1: 1 columns, expected 4"),
    (PREPROCESS + "--recipe original --seq_len 64", r"test\.txt:\d+: the sentence has 323 words"),
    ("pth2onnx --model $tiny", "holds neither model.safetensors nor pytorch_model.bin"),
    ("pth2onnx --model $tiny --random_weights", "--random_weights needs --inputs"),
    ("modify_onnx no.onnx out.onnx", "no.onnx"), ("postprocess --result_dir no --anno_file no.npy", "no.npy")])
def test_a_wrong_call_is_answered_in_a_sentence(tmp_path, line, reason):
    with pytest.raises(UserError, match=reason):
        call(tmp_path, line)
    assert not list(tmp_path.iterdir())


def test_weights_that_number_the_tags_otherwise(tmp_path):
    config = json.loads((TINY / "config.json").read_text())
    names = sorted(conll2003.TAGS)
    config.update(id2label=dict(enumerate(names)), label2id={tag: number for number, tag in enumerate(names)})
    (tmp_path / "config.json").write_text(json.dumps(config))
    bert.load("TokenClassification", tmp_path, labels=9, seed=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="numbers the tags B-LOC, B-MISC"):
        call(tmp_path, f"pth2onnx --model {tmp_path}")


# --- The graph and its answers


def test_the_reference_is_transformers_one_by_one(fixed, geared):
    net = bert.load("TokenClassification", fixed / "weights", labels=9)
    reference = np.load(fixed / "reference.npy")
    with torch.inference_mode():
        for number, ids in enumerate(encoded().rows):
            assert np.allclose(reference[number, :len(ids)], net(torch.tensor([ids])).logits[0].numpy(), atol=1e-5)
    words = np.load(fixed / "bert_bin" / "words.npy")
    share = np.bincount(recipes.predicted(reference, words), minlength=9) / len(words)
    assert share.max() <= 0.7 and (share > 0).sum() > 4, "random weights answer with most tags"


def test_the_exported_graph(fixed):
    model = onnx.load(fixed / "model.onnx")
    names = [[value.name for value in values] for values in (model.graph.input, model.graph.output)]
    assert names == [list(recipes.INPUTS), ["logits"]]
    assert [dim.dim_param or dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim] == ["N", "L", 9]


INFER = """
python3 $here/modify_onnx.py model.onnx bs{bs}/model.onnx --batch_size {bs} --inputs bert_bin
bash $here/atc.sh bs{bs}/model.onnx bs{bs}/{soc} {bs} {soc} bert_bin/seq_lens.txt
rm -rf batches
bash $here/../../common/infer.sh bs{bs}/{soc}.om bert_bin out_{soc}_bs{bs} {bs} 0
python3 $here/postprocess.py --result_dir out_{soc}_bs{bs} --anno_file bert_bin/words.npy
"""


@pytest.mark.parametrize("form, bs, soc", [
    *(pytest.param(*run, marks=pytest.mark.long) for run in (("fixed", 8, "cpu"), ("geared", 1, "cpu"), ("geared", 8, "cpu"))),
    ("geared", 8, "Ascend310P3")])
def test_the_om_route_by_hand(fixed, geared, form, bs, soc):
    folder = {"fixed": fixed, "geared": geared}[form]
    said = ran(folder, f"mkdir -p bs{bs};" + INFER.format(bs=bs, soc=soc))
    words, reference = np.load(folder / "bert_bin" / "words.npy"), np.load(folder / "reference.npy")
    scores, _ = recipes.score(words, recipes.predicted(reference, words))
    printed = re.search(r"^all +precision +([\d.]+)% .*F1 +([\d.]+)%$(?s:.*)^Accuracy: ([\d.]+)% \(O everywhere: 64\.57%\)$",
                        said, re.M)
    wanted = [scores["precision"], scores["f1"], scores["token_accuracy"]]
    assert [float(number) / 100 for number in printed.groups()] == pytest.approx(wanted, abs=1e-4 if soc == "cpu" else 0.03)
    rows = ledger(folder / f"bs{bs}" / "ledger.json")
    assert list(rows) == ["simplified", "modified"] and all(row["fidelity"]["flips"] == 0 for row in rows.values())
    graph.assert_canonical(graph.load(folder / f"bs{bs}" / "model.onnx"))


def test_the_mask_constant_fits_half_precision(fixed):
    call(fixed, "modify_onnx model.onnx clamped.onnx")
    constants = [value.const_value.numpy() for value in graph.load(fixed / "clamped.onnx").graph.initializers.values()]
    floats = [c for c in constants if c.dtype == np.float32 and c.size]
    assert min(c.min() for c in floats) == -10000 and max(np.abs(c).max() for c in floats) <= np.finfo(np.float16).max


def test_gears_answer_as_the_fixed_length(fixed, tmp_path):
    """auto keeps the windows of 512, so the answers are the same samples'."""
    prepare(tmp_path, "--seq_len auto --gears 5")
    assert np.allclose(np.load(tmp_path / "reference.npy"), np.load(fixed / "reference.npy"), atol=1e-5)


def coarse_layer(model):
    """Round one matrix to a tenth, as a calibration gone wrong would."""
    matrix = next(value for value in model.graph.initializer if value.dims == [32, 64])
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix).round(1), matrix.name))


def dropped_types(model):
    """Have the graph add the second segment's embedding to every piece."""
    model.graph.initializer.append(numpy_helper.from_array(np.int64(1), "one"))
    for node in model.graph.node:
        node.input[:] = ["second" if name == "token_type_ids" else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Add", ["token_type_ids", "one"], ["second"]))


@pytest.mark.parametrize("damage", [coarse_layer, dropped_types])
def test_a_damaged_export_is_caught(fixed, tmp_path, damage):
    folder = shutil.copytree(fixed, tmp_path / "copy", ignore=shutil.ignore_patterns("bs*", "out_*"))
    model = onnx.load(folder / "model.onnx")
    damage(model)
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(JobFailed, match=r"the simplified graph is not the network: .* \(worst sample \d+\)"):
        call(folder, "modify_onnx model.onnx new.onnx --batch_size 8 --inputs bert_bin")


# --- Through make, with a report


def make(out, *flags):
    """Run make for this model on the tiny profile."""
    environment = {**os.environ, "MAKEFLAGS": "", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["make", "-C", HERE, f"VENV={sys.prefix}", f"OUT_ROOT={out}", "BS=8", "LOOP=1", *flags],
                          capture_output=True, text=True, env=environment)


RIGHT, ORIGINAL = ["SEQ_LENS=512", "SEQ_LENS=auto SOC=Ascend310P3 STANDIN=1"], ["RECIPE=original"]


@pytest.fixture(scope="module", params=[*RIGHT, *ORIGINAL])
def made(request, tmp_path_factory):
    """(folder of a finished run by both routes, make's flags, what make printed)."""
    out = tmp_path_factory.mktemp("out")
    done = make(out, *request.param.split(), "ROUTE=torch_aie", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = out.glob("*/tiny/bert_large_ner/bs8")
    return folder, request.param, done.stdout


@pytest.mark.long
def test_the_report_holds_both_routes(made):
    folder, flags, printed = made
    report = json.loads((folder / "postprocess" / "report.json").read_text())
    original = "original" in flags
    assert (report["corpus"]["recipe"], report["metric"]) == (("original", "token_accuracy") if original else ("npukit", "f1"))
    assert [row["stage"] for row in report["ledger"]] == ["torch", "onnx", "simplified", "modified", "om"] and report["passes"]
    assert {"precision", "recall", "f1", "conlleval_f1", "token_accuracy", "all_o_accuracy", "by_type"} <= set(report["metrics"])
    row = report["original"]["rows"][0]
    assert (row["metrics"]["token_accuracy"], row["metrics"]["token_accuracy_torch_aie"]) == (0.9074, 0.8743)
    other = report["routes"]["torch_aie"]
    assert other["backend"].startswith("TorchScript on the CPU") and other["precision"] == "fp32" and "run_torch_aie.py" in other["command"]
    names = [gate["name"] for gate in report["gates"]]
    if original:
        assert other["fidelity"] is None and other["metrics"]["token_accuracy"] != report["metrics"]["token_accuracy"]
    else:
        assert other["fidelity"]["flips"] == 0 and "torch_aie: flipped decisions" in names
    table = printed[printed.index("om it/s"):].splitlines()
    assert re.match(r"om it/s +torch_aie it/s +torch_aie/om +metric +om +torch_aie +torch_aie ran as$", table[0])
    assert re.match(r"bert_large_ner +tiny +\S+ +8 +[\d.]+ +[\d.]+ +[\d.]+ .* fp32, TorchScript on the CPU, torch [\d.]+", table[2])


@pytest.mark.long
def test_a_second_make_runs_nothing_and_another_recipe_everything(made):
    folder, flags, _ = made
    out = folder.parents[3]
    again = make(out, *flags.split(), "ROUTE=torch_aie", "reports")
    assert again.returncode == 0 and " s  /" not in again.stdout
    planned = make(out, *flags.split(), "ROUTE=torch_aie", "RECIPE=npukit" if "original" in flags else "RECIPE=original", "-n", "reports")
    assert planned.stdout.count("npuops stage --into") == 9
    alone = make(out, *flags.split(), "-n", "reports")
    assert re.findall(r"--into \S+/(\w+) ", alone.stdout) == ["postprocess"], "the report without the other route"


@pytest.mark.long
@pytest.mark.parametrize("made", RIGHT, indirect=True)
def test_a_trace_that_answers_otherwise_fails_the_report(made, tmp_path):
    folder, _, _ = made
    folder = shutil.copytree(folder.parents[3], tmp_path / "out") / folder.relative_to(folder.parents[3])
    logits = np.load(folder / "run_torch_aie" / "logits.npy")
    sample, place = recipes.read_words(folder.parent / "inputs" / "words.npy")[7, 1:3]
    logits[sample, place] = -logits[sample, place]
    np.save(folder / "run_torch_aie" / "logits.npy", logits)
    call(tmp_path, f"postprocess --result_dir {folder}/infer/outputs --anno_file {folder.parent}/inputs/words.npy --run {folder} "
                   f"--torch_aie {folder}/run_torch_aie --loop 1 --report report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["passes"]
    assert [gate["name"] for gate in report["gates"] if not gate["passes"]] == [
        "torch_aie: largest difference from PyTorch", "torch_aie: flipped decisions"]


@pytest.mark.parametrize("flag, said", [("ROUTE=npu", "ROUTE='npu'; it is om or torch_aie"), ("RECIPE=new", "it is npukit or original")])
def test_a_flag_that_means_nothing(tmp_path, flag, said):
    done = make(tmp_path, flag, "all")
    assert done.returncode == 2 and said in done.stderr


@pytest.mark.long
def test_the_bench(tmp_path):
    """The same answers three ways, transformers' pipeline included, on sentences of our own; the ratio is seen failing."""
    corpus = tmp_path / "conll.txt"
    facts = [f"BENCH='CORPUS={corpus} BS=1 SEQ_LENS=512' 'CORPUS={corpus} BS=4 SEQ_LENS=auto'",
             f"BENCH_CORPUS=bench_corpus.py --sentences 4 --output {corpus}"]
    peer = f"BENCH_PEER=-m npukit pipeline token-classification {tmp_path}/bench/bert_large_ner/2 --tokenizer {TINY}"
    done = make(tmp_path, *facts, peer, "BENCH_COMPARE=--equal", "bench")
    assert done.returncode == 0, done.stdout + done.stderr
    *runs, pipeline = re.findall(r"^(?:bert_large_ner .* equal|pipeline .*)$", done.stdout, re.M)
    assert len([run for run in runs if run.endswith("equal")]) == 2 and re.search(r"^pipeline [\d.]+ samples/s, here [\d.]+:", pipeline)
    done = make(tmp_path, *facts, f"{peer} --at_least 1000", "BENCH_COMPARE=--equal", "bench")
    assert done.returncode == 2 and re.search(r"npukit: only [\d.]+ times pipeline; 1000 are due", done.stderr)


def test_the_original_s_speed_stands_beside_its_own_size_alone():
    task = "TokenClassification"
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    assert sizes.stands_beside(HERE, sizes.bert(task, 9, **large))
    assert not sizes.stands_beside(HERE, sizes.bert(task, 9, **large | {"num_hidden_layers": 23})), "a layer less"
    assert not sizes.stands_beside(HERE, sizes.bert(task, 9, **large | {"num_hidden_layers": 2}))
    assert not sizes.stands_beside(HERE, sizes.bert_of(task, 9, TINY))
