"""The scripts as commands: the original README's steps by hand, both tools, gears, the ledger, and faults that were planted."""
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
from corpora import need
from onnx import helper, numpy_helper

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import answers
import outputs
import window_files
from npukit import graph
from npukit.corpus import store
from npukit.errors import JobFailed, UserError
from npukit.nets import bert
from windows import Corpus, Recipe

SCRIPTS = scripts.Scripts(HERE, "preprocess", "pth2onnx", "modify_onnx", "postprocess", "test/parse")
call, run, ran = SCRIPTS.call, SCRIPTS.run, SCRIPTS.ran
TINY = ROOT / "data" / "tiny" / "spanbert"
WINDOWS = 30
FOLDERS = ("input_ids", "segment_ids", "input_mask")
OUTPUTS = ("start_logits", "end_logits")
CORPUS = Corpus(Recipe(TINY / "dev-v1.1.json", TINY))
torch.set_num_threads(1)  # nothing here is large

PREPROCESS = "preprocess --dev_file $tiny/dev-v1.1.json --model $tiny --save_path inputs "
PTH2ONNX = "pth2onnx --config_file $tiny/config.json --random_weights --inputs inputs"
POSTPROCESS = "postprocess --do_eval --dev_file $tiny/dev-v1.1.json --model $tiny --bin_dir outputs "
ONNX = "spanBert_dynamicbs.onnx"


def prepare(folder, flags):
    call(folder, PREPROCESS + flags)
    call(folder, PTH2ONNX)
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """A folder with inputs/, the exported graph, reference.npy and ledger.json, for one length."""
    return prepare(tmp_path_factory.mktemp("fixed"), "")


@pytest.fixture(scope="module")
def geared(tmp_path_factory):
    """The same for three lengths."""
    return prepare(tmp_path_factory.mktemp("geared"), "--seq_len 128,256,512")


@pytest.fixture
def copy(fixed, tmp_path):
    """A copy of `fixed` that a test may damage."""
    return shutil.copytree(fixed, tmp_path / "copy")


def ledger(path):
    return {row["stage"]: row for row in json.loads(path.read_text())}


# --- The original's commands

ORIGINALS = """
python3 $here/preprocess.py --dev_file $tiny/dev-v1.1.json --model $tiny --batch_size 4
python3 $here/pth2onnx.py --config_file ./weights/config.json --checkpoint ./weights/model.safetensors
atc --framework=5 --model=./spanBert_dynamicbs.onnx --output=./spanBert_bs4 --input_format=ND \
    --input_shape="input_ids:4,512;token_type_ids:4,512;attention_mask:4,512" --log=error --soc_version=Ascend310P3
msame --model "./spanBert_bs4.om" --input "./input_ids,./segment_ids,./input_mask" --output "./result/outputs_bs4_om" \
    --outfmt BIN > ./msame_bs4.txt
python3 $here/test/parse.py --result-file ./msame_bs4.txt --batch-size 4
python3 $here/postprocess.py --do_eval --model $tiny --dev_file $tiny/dev-v1.1.json --max_seq_length 512 --doc_stride 128 --eval_metric f1 \
    --fp16 --bin_dir ./result/outputs_bs4_om --eval_batch_size 4
python3 $here/test/parse.py --result-file ./result/result_bs4.json
"""
BY_AIS_BENCH = """
python3 $here/preprocess.py --dev_file $tiny/dev-v1.1.json --model $tiny --batch_size 1
python3 -m ais_bench --model ./spanBert_bs4.om --input "./input_ids,./segment_ids,./input_mask" --output ./result/bs4 \
    --outfmt BIN --batchsize 4
python3 $here/postprocess.py --do_eval --model $tiny --dev_file $tiny/dev-v1.1.json --bin_dir ./result/bs4/ --output_dir ais
"""


@pytest.fixture(scope="module")
def by_hand(fixed, tmp_path_factory):
    """(the folder where the original's steps ran on the twin, what they printed)."""
    folder = tmp_path_factory.mktemp("by_hand")
    shutil.copytree(fixed / "weights", folder / "weights")
    return folder, ran(folder, ORIGINALS)


@pytest.mark.long
def test_the_originals_steps(by_hand):
    folder, said = by_hand
    fps, f1, both = said.splitlines()[-3:]
    result = json.loads((folder / "result" / "result_bs4.json").read_text())
    assert re.fullmatch(r"bs4 fps:\d+\.\d{3}", fps) and f1 == f"f1 = {result['f1']}"
    assert both == f"bs4 exact_match:{result['exact_match']} f1:{result['f1']}" and result["total"] == 24
    predictions, best = (json.loads((folder / f"{name}predictions.json").read_text()) for name in ("", "nbest_"))
    assert list(predictions) == [question.id for question, _ in CORPUS.questions]
    assert predictions == {name: found[0]["text"] for name, found in best.items()} and max(map(len, best.values())) == 20


@pytest.mark.long
def test_the_files_are_the_originals(by_hand):
    folder, rows = by_hand[0], CORPUS.rows()
    for directory, row in zip(FOLDERS, rows.values()):
        assert {path.name for path in (folder / directory).iterdir()} == {f"{n}.bin" for n in range(8)}
        batches = np.stack([np.fromfile(folder / directory / f"{n}.bin", np.int64).reshape(4, 512) for n in range(8)]).reshape(-1, 512)
        padded = np.array([ids + [0] * (512 - len(ids)) for ids in row])
        assert np.array_equal(batches[:WINDOWS], padded), "in the order of the corpus"
        assert np.array_equal(batches[WINDOWS:], padded[[28, 28]]), "the last batch is filled up with its first window"
    graph = onnx.load(folder / ONNX).graph
    assert [value.name for value in graph.input] == ["input_ids", "token_type_ids", "attention_mask"]
    assert [value.name for value in graph.output] == list(OUTPUTS)


@pytest.mark.long
def test_ais_bench_by_hand_answers_as_msame(by_hand):
    folder, _ = by_hand
    ran(folder, BY_AIS_BENCH)
    assert len(list((folder / "input_ids").iterdir())) == WINDOWS, "a file a sample, and none of the batches before"
    assert (folder / "ais" / "predictions.json").read_bytes() == (folder / "predictions.json").read_bytes()


def test_another_call_replaces_what_the_one_before_left(tmp_path):
    def bins():
        return sorted(str(path.relative_to(tmp_path / "inputs")) for path in (tmp_path / "inputs").rglob("*.bin"))

    call(tmp_path, PREPROCESS + "--batch_size 8 --seq_len 128,512")
    assert bins() == sorted(f"{gear}/{name}/{n}.bin" for name in FOLDERS for n, gear in enumerate((128, 512, 512, 512)))
    call(tmp_path, PREPROCESS + "--batch_size 16")
    assert bins() == sorted(f"{name}/{n}.bin" for name in FOLDERS for n in (0, 1))
    call(tmp_path, PREPROCESS)
    assert bins() == []


@pytest.mark.parametrize("line, reason", [
    ("preprocess --dev_file no.json --model $tiny", r"no\.json is not there"),
    ("preprocess --dev_file $tiny/dev-v1.1.json --model no", "no holds neither vocab.txt nor tokenizer.json"),
    ("preprocess --dev_file $tiny/dev-v1.1.json --model $tiny --max_seq_length 513", "BERT takes 512"),
    ("preprocess --dev_file $tiny/dev-v1.1.json --model $tiny --seq_len 128,256", "the longest gear is 256"),
    ("preprocess --dev_file $tiny/dev-v1.1.json --model $tiny --max_seq_length 400 --seq_len 512", "the model takes 400"),
    ("preprocess --dev_file $tiny/dev-v1.1.json --model $tiny --questions 25", "--questions is 25, the file has 24"),
    ("pth2onnx --config_file $tiny/config.json --random_weights", "--random_weights needs --inputs"),
    ("pth2onnx --config_file $tiny/config.json", "give either --checkpoint or --random_weights"),
    ("pth2onnx --config_file $tiny/config.json --checkpoint $tiny", "holds neither model.safetensors nor pytorch_model.bin"),
    ("pth2onnx --config_file $tiny/config.json --checkpoint $tiny --inputs no", "manifest.json is not there"),
    ("modify_onnx no.onnx out.onnx", r"no\.onnx"),
    ("postprocess --bin_dir o --model $tiny", "give --inputs, preprocess.py's folder, or --dev"),
    (POSTPROCESS + "--version_2_with_negative", "only SQuAD 1.1 is scored here"), (POSTPROCESS + "--n_best_size 0", "are 1 or more"),
    (POSTPROCESS + "--report r.json", "--report needs --do_eval and --run"), (POSTPROCESS, "outputs is not there; run the infer stage")])
def test_a_wrong_call_is_answered_in_a_sentence(tmp_path, line, reason):
    with pytest.raises(UserError, match=reason):
        call(tmp_path, line)


def test_the_command_ends_with_2_and_one_sentence(tmp_path):
    (tmp_path / "dev.json").write_text((TINY / "dev-v1.1.json").read_text().replace('"tiny-0003"', '"tiny-0002"'))
    done = run(tmp_path, "python3 $here/preprocess.py --dev_file dev.json --model $tiny")
    assert done.returncode == 2 and done.stderr.startswith("preprocess.py: dev.json:tiny-0002: the id stands there twice"), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["dev.json"]


# --- Weights


def test_random_weights_answer_with_many_places(fixed):
    logits = np.load(fixed / "reference.npy")
    assert logits.shape == (WINDOWS, CORPUS.lengths.max(), 2) and logits.dtype == np.float32
    inside = np.arange(logits.shape[1]) < CORPUS.lengths[:, None]
    assert (logits[~inside] == 0).all() and logits[inside].std(0).min() >= 1
    for places in logits.argmax(1).T:
        assert np.bincount(places).max() / WINDOWS <= 0.7


def test_a_random_network_that_tells_no_piece_from_another_is_refused(copy, monkeypatch):
    alike = np.broadcast_to(np.arange(WINDOWS * 2.0).reshape(-1, 1, 2), (WINDOWS, 512, 2))
    monkeypatch.setattr(bert, "logits", lambda net, samples: alike)
    with pytest.raises(JobFailed, match="gives the word pieces of a window about one logit: they deviate by 0% of"):
        call(copy, PTH2ONNX)


def test_the_reference_is_transformers_one_by_one(fixed, geared):
    net = bert.load("QuestionAnswering", fixed / "weights", labels=2)
    for folder in (fixed, geared):
        reference = np.load(folder / "reference.npy")
        for n, window in enumerate(CORPUS.windows):
            with torch.inference_mode():
                made = net(input_ids=torch.tensor([window.ids]), attention_mask=torch.ones(1, len(window.ids), dtype=torch.int64),
                           token_type_ids=torch.tensor([[0] * window.first + [1] * (len(window.ids) - window.first)]))
            for index, name in enumerate(OUTPUTS):
                assert np.allclose(reference[n, :len(window.ids), index], made[name][0], atol=2e-5)


def released(folder, prefix="", config="config.json", old_names=False):
    """Write weights as SpanBERT releases them: a pickle and a config that says little; return its state."""
    torch.manual_seed(3)
    config_of = json.loads((TINY / "config.json").read_text())
    net = bert.load("QuestionAnswering", TINY, labels=2, seed=3)
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    state |= {f"{prefix}bert.pooler.dense.weight": torch.zeros(32, 32), f"{prefix}bert.pooler.dense.bias": torch.zeros(32)}
    if old_names:
        state = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
                 for name, value in state.items()}
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    (folder / config).parent.mkdir(exist_ok=True)
    (folder / config).write_text(json.dumps({key: value for key, value in config_of.items() if key != "model_type"}))
    return net


@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=pytest.mark.long) for kind in (
    {}, {"prefix": "module."}, {"config": "elsewhere/bert_config.json"})), {"prefix": "module.", "old_names": True}], ids=str)
def test_spanberts_own_release_is_read(fixed, tmp_path, kind):
    net = released(tmp_path / "squad1", **kind)
    call(tmp_path, f"pth2onnx --config_file squad1/{kind.get('config', 'config.json')} --checkpoint squad1/pytorch_model.bin "
                   f"--inputs {fixed}/inputs")
    samples = window_files.read(fixed / "inputs")[-1]
    assert np.allclose(np.load(tmp_path / "reference.npy"), bert.logits(net, samples), atol=1e-6)
    assert ledger(tmp_path / "ledger.json")["onnx"]["fidelity"]["flips"] == 0
    weights = json.loads((tmp_path / "weights.json").read_text())
    assert (weights["kind"], weights["parameters"]) == ("own", sizes.bert_of("QuestionAnswering", 2, TINY))


def test_weights_of_another_vocabulary_are_refused(fixed, tmp_path):
    released(tmp_path / "squad1")
    config = json.loads((tmp_path / "squad1" / "config.json").read_text())
    (tmp_path / "squad1" / "config.json").write_text(json.dumps({**config, "vocab_size": 28996}))
    with pytest.raises(UserError, match="has embeddings for 28996 word pieces, the tokenizer of the inputs has 148"):
        call(tmp_path, f"pth2onnx --config_file squad1/config.json --checkpoint squad1 --inputs {fixed}/inputs")


def test_a_half_precision_export(fixed, tmp_path):
    call(tmp_path, f"pth2onnx --config_file {fixed}/weights/config.json --checkpoint {fixed}/weights --fp16")
    model = onnx.load(tmp_path / ONNX)
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {onnx.TensorProto.FLOAT}
    large = [value for value in model.graph.initializer if len(value.dims) == 2]
    assert large and {value.data_type for value in large} == {onnx.TensorProto.FLOAT16}
    samples = window_files.read(fixed / "inputs")[-1]
    logits, reference = bert.graph_logits(tmp_path / ONNX, samples), np.load(fixed / "reference.npy")
    assert 1e-4 < np.abs(logits - reference).max() < 0.1


def test_the_full_size_network_is_spanberts():
    ours, theirs = (json.loads(need(f"tokenizers/{name}/config.json").read_text()) for name in ("bert-base-cased", "spanbert-base-squad"))
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings",
            "type_vocab_size", "hidden_act", "layer_norm_eps")
    assert [ours.get(key, 1e-12) for key in same] == [theirs[key] for key in same]


# --- The graph, the tools, gears

MODIFY = f"modify_onnx {ONNX} model.onnx --batch_size {{bs}} --inputs inputs"


@pytest.fixture(scope="module")
def modified(fixed, geared):
    """A function: the folder where modify_onnx left bs<N>/model.onnx for (form, batch size)."""
    made = {}

    def make(form, bs):
        if (form, bs) not in made:
            folder = {"fixed": fixed, "geared": geared}[form]
            call(folder, f"modify_onnx {ONNX} bs{bs}/model.onnx --batch_size {bs} --inputs inputs")
            made[form, bs] = folder
        return made[form, bs]

    return make


@pytest.mark.parametrize("form, bs, shape", [("fixed", 1, [1, 512]), ("fixed", 8, [8, 512]), ("geared", 8, [8, None])])
def test_the_modified_graph(modified, form, bs, shape):
    folder = modified(form, bs) / f"bs{bs}"
    model = graph.load(folder / "model.onnx")
    graph.assert_canonical(model)
    assert [value.name for value in model.graph.inputs] == ["input_ids", "token_type_ids", "attention_mask"]
    assert all([dim if isinstance(dim, int) else None for dim in value.shape] == shape for value in model.graph.inputs)
    rows = ledger(folder / "ledger.json")
    assert list(rows) == ["simplified", "modified"]
    for row in rows.values():
        assert row["fidelity"]["max_abs"] <= row["fidelity"]["tolerance"] and row["fidelity"]["flips"] == 0


INFER = """
bash $here/atc.sh bs{bs}/model.onnx bs{bs}/{soc} {bs} {soc} inputs/seq_lens.txt
mkdir {place} && cd {place}
bash $here/infer.sh ../bs{bs}/{soc}.om ../inputs outputs {bs} 0 {tool}
"""


@pytest.fixture(scope="module")
def answered(modified):
    """A function: the logits of (form, soc, batch size, tool), in the order of the corpus."""
    made = {}

    def make(form, soc, bs, tool):
        if (form, soc, bs, tool) not in made:
            folder, place = modified(form, bs), f"{tool}_{soc}_{bs}/infer"
            (folder / place).parent.mkdir()
            ran(folder, INFER.format(soc=soc, bs=bs, tool=tool, place=place).replace("../", "../../"))
            order, gears = folder / place / "batches" / "order.npy", store.read_seq_lens(folder / "inputs")
            made[form, soc, bs, tool] = outputs.read(folder / place / "outputs", CORPUS, bs, order, gears)
            assert json.loads((folder / place / "outputs_summary.json").read_text())["standin"]
        return made[form, soc, bs, tool]

    return make


@pytest.mark.parametrize("tool", ["ais_bench", "msame"])
@pytest.mark.parametrize("form, bs", [*(pytest.param("fixed", bs, marks=pytest.mark.long) for bs in (1, 8)), ("geared", 8)])
def test_answers_are_pytorchs_whatever_the_tool_the_batch_and_the_gears(fixed, answered, form, bs, tool):
    reference, logits = np.load(fixed / "reference.npy"), answered(form, "cpu", bs, tool)
    assert np.abs(logits - reference).max() <= 1e-4 * max(1, np.abs(reference).max()), "in the order of the corpus"
    ours, theirs = ({n: found[0]["text"] for n, found in answers.predict(CORPUS, values).items()} for values in (logits, reference))
    assert ours == theirs and len(set(ours.values())) > 12, "or the order would not show"


@pytest.mark.parametrize("form", ["fixed", "geared"])
def test_the_twin_keeps_its_decisions(fixed, answered, form):
    reference, logits = np.load(fixed / "reference.npy"), answered(form, "Ascend310P3", 8, "ais_bench")
    closeness = answers.task(CORPUS).compare(logits, reference)
    assert closeness["not_finite"] == 0 and closeness["max_abs"] > 1e-4 and closeness["clear_agreement"] >= 0.99


@pytest.mark.parametrize("tool", ["ais_bench", "msame"])
def test_folders_stand_in_the_graphs_order(fixed, tmp_path, tool):
    """Both tools pair them by position; what is called here is echo."""
    for name in ("msame", "python3"):
        real = f"[[ $2 == npukit ]] && exec {sys.executable} \"$@\"\n" if name == "python3" else ""
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{real}echo \"$@\" >&2; echo \"$@\" >>{tmp_path}/called\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    run(tmp_path, f"PATH=$PWD:$PATH bash $here/infer.sh no.om {fixed}/inputs o 8 0 {tool}")
    assert "--input batches/input_ids,batches/segment_ids,batches/input_mask " in (tmp_path / "called").read_text()


def test_msame_that_fails_ends_the_stage(fixed, tmp_path):
    done = run(tmp_path, f"bash $here/infer.sh no.om {fixed}/inputs o 8 0 msame")
    assert done.returncode == 1 and not (tmp_path / "o_summary.json").exists()


# --- Planted faults: each is caught by the stage that it is in


def swapped_outputs(model):
    for value, name in zip(model.graph.output, reversed(OUTPUTS)):
        value.name = name


def swapped_inputs(model):
    for node in model.graph.node:
        swap = {"token_type_ids": "attention_mask", "attention_mask": "token_type_ids"}
        node.input[:] = [swap.get(name, name) for name in node.input]


def dropped_segments(model):
    for node in model.graph.node:
        node.input[:] = ["nothing" if name == "token_type_ids" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.int64(0), "zero"))
    model.graph.node.insert(0, helper.make_node("Mul", ["token_type_ids", "zero"], ["nothing"]))


def coarse_layer(model):
    matrix = next(value for value in model.graph.initializer if list(value.dims) == [32, 64])
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix).round(1), matrix.name))


FAULTS = [swapped_outputs, swapped_inputs, dropped_segments, coarse_layer]


@pytest.mark.parametrize("damage", [FAULTS[0], *(pytest.param(fault, marks=pytest.mark.long) for fault in FAULTS[1:])])
def test_an_export_that_is_not_the_network_is_caught(copy, monkeypatch, damage):
    whole = bert.export

    def export(net, inputs, outputs, path):
        whole(net, inputs, outputs, path)
        model = onnx.load(path)
        damage(model)
        onnx.save(model, path)

    monkeypatch.setattr(bert, "export", export)
    with pytest.raises(JobFailed, match="the onnx graph is not the network: "):
        call(copy, PTH2ONNX)
    assert ledger(copy / "ledger.json")["onnx"]["fidelity"]["max_abs"] > 1e-2


def test_a_pass_that_changes_the_answers_is_caught(copy, monkeypatch):
    @graph.graph_pass
    def careless(model):
        model.graph.outputs[0], model.graph.outputs[1] = model.graph.outputs[1], model.graph.outputs[0]
        return "swapped the outputs"

    monkeypatch.setattr(SCRIPTS["modify_onnx"], "PASSES", [*SCRIPTS["modify_onnx"].PASSES, careless])
    with pytest.raises((JobFailed, UserError), match=r"careless|the modified graph is not the network"):
        call(copy, MODIFY.format(bs=8))


# --- Outputs that do not fit

SIZE = 4


@pytest.fixture
def left(fixed, tmp_path):
    """A folder with outputs/ as msame leaves the reference answers at batch size 4."""
    logits = np.load(fixed / "reference.npy")
    padded = np.zeros((32, 512, 2), np.float32)
    padded[:WINDOWS, :logits.shape[1]] = logits
    (tmp_path / "outputs").mkdir()
    for n, batch in enumerate(padded.reshape(8, SIZE, 512, 2)):
        for index in range(2):
            batch[..., index].tofile(tmp_path / "outputs" / f"{n}_output_{index}.bin")
    return tmp_path


def test_what_preprocess_left_gives_the_answers_that_the_text_gives(fixed, left):
    call(left, POSTPROCESS + "--eval_batch_size 4")
    flags = f"--do_eval --bin_dir outputs --eval_batch_size 4 --output_dir stored --inputs {fixed}/inputs"
    call(left, f"postprocess {flags}")
    for name in ("predictions.json", "nbest_predictions.json", "result/result_bs4.json"):
        assert (left / name).read_bytes() == (left / "stored" / name).read_bytes()


def test_known_answers_written_as_tool_output_score_100(tmp_path):
    from test_answers import corpus, gold

    logits = np.zeros((32, 512, 2), np.float32)
    known = gold(corpus())[0]
    logits[:WINDOWS, :known.shape[1]] = known
    for shift, places in ((0, logits), (1, np.roll(logits, 1, axis=1))):
        (tmp_path / "outputs" / "20261121").mkdir(parents=True, exist_ok=True)
        for n, batch in enumerate(places.reshape(8, SIZE, 512, 2)):
            for index in range(2):
                batch[..., index].tofile(tmp_path / "outputs" / "20261121" / f"{n}_output_{index}.bin")
        call(tmp_path, POSTPROCESS + "--eval_batch_size 4")
        result = json.loads((tmp_path / "result" / "result_bs4.json").read_text())
        assert (result["exact_match"] == result["f1"] == 100) if shift == 0 else result["exact_match"] < 30


def without_one(folder):
    (folder / "5_output_1.bin").unlink()


def with_one_more(folder):
    shutil.copy(folder / "0_output_0.bin", folder / "8_output_0.bin")


def cut_short(folder):
    path = folder / "3_output_0.bin"
    path.write_bytes(path.read_bytes()[:-4])


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def two_runs(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()


ID = "tiny-[0-9]{4}"


@pytest.mark.parametrize("damage, reason", [
    (without_one, rf"5_output_1\.bin is missing, 1 of 16 files are; the first question in it is {ID}"),
    (with_one_more, rf"8_output_0\.bin is one of 1 files too many: 8 batches end with question {ID}"),
    (cut_short, rf"3_output_0\.bin holds 8188 bytes, expected float32 \[4, 512\], 8192 bytes; the first question in it is {ID}"),
    (empty, "holds no outputs; run the infer stage first"),
    (two_runs, "holds the outputs of 2 runs, one, two; name one of them")])
def test_outputs_that_are_not_whole_are_refused(left, damage, reason):
    call(left, POSTPROCESS + "--eval_batch_size 4")
    damage(left / "outputs")
    with pytest.raises(UserError, match=reason):
        call(left, POSTPROCESS + "--eval_batch_size 4")


@pytest.mark.parametrize("flags, reason", [
    ("", r"8_output_0\.bin is missing, 44 of 60"), ("--eval_batch_size 8", r"files too many: 4 batches end with"),
    ("--eval_batch_size 5", "too many"), ("--eval_batch_size 4 --max_seq_length 500", "of another batch size or length"),
    ("--eval_batch_size 4 --questions 12", "too many"), ("--eval_batch_size 4 --doc_stride 16", "is missing")])
def test_outputs_of_other_flags_are_refused(left, flags, reason):
    with pytest.raises(UserError, match=reason):
        call(left, POSTPROCESS + flags)


# --- test/parse.py


@pytest.mark.parametrize("log, said", [
    ("Inference average time : 22.00 ms\nInference average time without first time: 20.00 ms\n", "bs8 fps:400.000"),
    ("Inference time: 25ms\nInference average time : 25.00 ms\n", "bs8 fps:320.000"),
    ("Inference average time: 25.000000 ms\n", "bs8 fps:320.000"),
    ("[INFO] throughput 1000*batchsize.mean(8)/NPU_compute_time.mean(16.0): 500.0\n", "bs8 fps:500.000")])
def test_both_tools_logs_are_parsed(tmp_path, capsys, log, said):
    (tmp_path / "log.txt").write_text(f"something else\n{log}")
    call(tmp_path, "parse --result-file log.txt --batch-size 8")
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize("name, content, reason", [
    ("log.txt", "nothing", "has no line with the tool's throughput"), ("r.json", "{}", "has no exact_match and f1"),
    ("r.json", "[", "not whole JSON")])
def test_what_tells_no_figure_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=reason):
        call(tmp_path, f"parse --result-file {name}")


# --- Through make, with a report


def make(out, *flags):
    """Run make for this model on the tiny profile; return the CompletedProcess."""
    environment = {**os.environ, "MAKEFLAGS": "", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["make", "-C", HERE, f"VENV={sys.prefix}", f"OUT_ROOT={out}", "BS=8", "LOOP=1", *flags],
                          capture_output=True, text=True, env=environment)


@pytest.mark.long
@pytest.mark.parametrize("flags", ["", "SEQ_LENS=auto GEARS=3 INFER_TOOL=msame SOC=Ascend310P3 STANDIN=1 QUESTIONS=20"])
def test_the_report(tmp_path, flags):
    done = make(tmp_path, *flags.split(), "all")
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = tmp_path.glob("*/tiny/spanbert/bs8")
    report, twin = json.loads((folder / "postprocess" / "report.json").read_text()), bool(flags)
    assert [row["stage"] for row in report["ledger"]] == ["torch", "onnx", "simplified", "modified", "om"]
    assert (report["precision"], report["standin"], report["batch_size"]) == ("fp16" if twin else "fp32", True, 8)
    assert report["passes"] and report["metric"] == "f1" and {"f1", "exact_match"} <= set(report["metrics"])
    assert all(length % 32 == 0 for length in report["seq_lens"]) and len(report["seq_lens"]) <= 3
    assert [row["length"] for row in report.get("fusions", [])] == (report["seq_lens"] if twin else []), "a CPU fuses nothing"
    assert report["samples"] == report["corpus"]["windows"]
    assert report["corpus"]["name"] == ("dev-v1.1.json, 20 of 24 questions, evenly spread" if twin else "dev-v1.1.json")
    assert json.loads((folder / "postprocess" / "result" / "result_bs8.json").read_text())["f1"] == 100 * report["metrics"]["f1"]
    if not twin:
        assert report["metrics"] == report["reference"]
        swap(folder)
        failed = judged(folder, tmp_path / "again.json")
        assert failed == ["largest difference from PyTorch", "flipped decisions"]


def swap(folder):
    """Exchange start and end of one batch."""
    one, other = (folder / "infer" / "outputs" / f"batch_00001_{index}.npy" for index in range(2))
    one.rename(folder / "spare")
    other.rename(one)
    (folder / "spare").rename(other)


def judged(folder, report):
    """Run postprocess again on a run's outputs; return the gates that fail."""
    call(folder, POSTPROCESS.replace("--bin_dir outputs", f"--bin_dir {folder}/infer/outputs")
         + f"--eval_batch_size 8 --run {folder} --loop 1 --output_dir {folder}/again --report {report}")
    return [gate["name"] for gate in json.loads(report.read_text())["gates"] if not gate["passes"]]


@pytest.mark.long
def test_a_checkout_that_was_moved_goes_on_where_it_was(tmp_path):
    """No artefact names a place: the earlier stages' folders serve under another root, where the corpus is another's."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(TINY, old / "data" / "tiny" / "spanbert")
    done = make(old / "out", f"DATA={old}/data", "SEQ_LENS=64,512", "pth2onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    old.rename(new)
    for path in filter(Path.is_file, new.glob("out/cpu/**/*")):  # a record tells what was run, and is not read by a later stage
        assert path.name in ("record.json", "log.txt") or str(old).encode() not in path.read_bytes(), path
    done = make(new / "out", f"DATA={new}/data", "SEQ_LENS=64,512", "reports")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r" s  \S+/(\w+)$", done.stdout, re.M) == ["modify_onnx", "atc", "perf", "infer", "postprocess"]


@pytest.mark.long
def test_the_one_step_callers(tmp_path):
    exported = f"env PROFILE=tiny OUT_ROOT='{tmp_path}' VENV='{sys.prefix}' LOOP=1 MAKEFLAGS= STANDIN=1 PYTHONPATH="
    ran(tmp_path, f"{exported} bash $here/test/pth2om.sh --batch_size=4 --chip_name=310P3")
    assert (tmp_path / "Ascend310P3-standin" / "tiny" / "spanbert" / "bs4" / "atc" / "model.om").is_file()
    said = ran(tmp_path, f"{exported} bash $here/test/eval_acc_perf.sh --batch_size=4 --datasets_path=$tiny --chip_name=310P3").splitlines()
    assert re.fullmatch(r"bs4 fps:\d+\.\d{3}", said[-2]) and re.fullmatch(r"bs4 exact_match:\S+ f1:\S+", said[-1])


@pytest.mark.parametrize("line, reason", [
    ("pth2om.sh --batchsize=4", "pth2om.sh: --batchsize=4 is none of --batch_size= --config_file= --checkpoint= --chip_name="),
    ("pth2om.sh --batch_size", "pth2om.sh: --batch_size is none of --batch_size= --config_file= --checkpoint= --chip_name="),
    ("pth2om.sh --datasets_path=.", "pth2om.sh: --datasets_path=. is none of --batch_size= --config_file= --checkpoint= --chip_name="),
    ("pth2om.sh --checkpoint=/no/such", "pth2om.sh: --checkpoint names /no/such, which is not there"),
    ("pth2om.sh --config_file=/no/such", "pth2om.sh: --config_file names /no/such, which is not there"),
    ("eval_acc_perf.sh --datasets_path=/no/such",
     "eval_acc_perf.sh: --datasets_path names /no/such/dev-v1.1.json, which is not there")])
def test_a_wrong_call_of_the_one_step_callers_is_answered_in_a_sentence(tmp_path, line, reason):
    done = run(tmp_path, f"bash $here/test/{line}")
    assert (done.returncode, done.stderr) == (2, f"{reason}\n") and list(tmp_path.iterdir()) == []


VERBATIM = """
bash ./test/pth2om.sh --batch_size=1 --config_file="./model_dir/squad1/config.json" \
    --checkpoint="./model_dir/squad1/pytorch_model.bin" --chip_name="310P3"
bash ./test/eval_acc_perf.sh --batch_size=1 --datasets_path=$tiny
"""
NEXT = """
python3 test/parse.py --result-file ./msame_bs1.txt --batch-size 1
python postprocess.py \
	--do_eval \
	--model $tiny \
	--dev_file $tiny/dev-v1.1.json \
	--max_seq_length 512 \
	--doc_stride 128 \
	--eval_metric f1 \
	--fp16 \
	--bin_dir ./result/outputs_bs1_om \
    --eval_batch_size 1
python3 test/parse.py --result-file ./result/result_bs1.json
"""
MSAME = """
./msame --model "./spanBert_bs1.om" \
        --input "./input_ids,./segment_ids,./input_mask" \
        --output "./result/outputs_bs1_om" \
        --outfmt BIN > ./msame_bs1.txt
"""


@pytest.mark.long
def test_the_originals_commands_one_after_another_in_the_models_folder(tmp_path):
    here = tmp_path / "models" / "spanbert"
    unwanted = shutil.ignore_patterns("tests", "__pycache__", "work", "out")
    for name in ("common", "models/spanbert", "data/tiny/spanbert"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    (here / "model_dir").mkdir()
    released(here / "model_dir" / "squad1")
    made = f"export PROFILE=tiny STANDIN=1 LOOP=1 MAKEFLAGS= VENV='{sys.prefix}' OUT_ROOT='{tmp_path}/out';"
    steps = ran(here, made + "unset PYTHONPATH;" + VERBATIM).splitlines()
    assert (tmp_path / "out" / "Ascend310P3-standin" / "tiny" / "spanbert" / "bs1" / "postprocess").is_dir(), "of the model just made"
    left = {path.name for path in here.iterdir()}
    assert {"spanBert_dynamicbs.onnx", "spanBert_bs1.om", *FOLDERS, "msame_bs1.txt", "result"} <= left
    assert all((here / folder / "0.bin").is_file() for folder in FOLDERS)
    shutil.rmtree(tmp_path / "out")  # the next commands read what is in the folder
    fps, f1, both = ran(here, NEXT).splitlines()
    assert [fps, both] == steps[-2:] and both.endswith(f1.replace(" = ", ":"))
    again = ran(here, MSAME + NEXT).splitlines()
    assert re.fullmatch(r"bs1 fps:\d+\.\d{3}", again[0]) and again[1:] == [f1, both]


def test_the_originals_msame_wants_one_on_path(tmp_path):
    for name in ("env", "bash"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = run(tmp_path, "PATH=$PWD:$here $here/msame --model a.om")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "there is no msame on PATH" in done.stderr


@pytest.mark.long
def test_the_bench(tmp_path):
    """The same answers both ways; the ratio is seen failing."""
    facts = ["QUESTIONS=4", "BENCH='SEQ_LENS=512' 'SEQ_LENS=auto'"]
    done = make(tmp_path, *facts, "BENCH_COMPARE=--equal", "bench")
    assert done.returncode == 0 and done.stdout.count(" equal\n") == 2, done.stdout + done.stderr
    done = make(tmp_path, *facts, "BENCH_COMPARE=--at_least 1000", "bench")
    assert done.returncode == 2 and re.search(r"npukit: [\d.]+ times the first run is reached, 1000 are due", done.stderr)


def test_the_original_s_speed_stands_beside_its_own_size_alone():
    task, large = "QuestionAnswering", {}
    assert sizes.stands_beside(HERE, sizes.bert(task, 2, **large))
    assert not sizes.stands_beside(HERE, sizes.bert(task, 2, **large | {"num_hidden_layers": 11})), "a layer less"
    assert not sizes.stands_beside(HERE, sizes.bert(task, 2, **large | {"num_hidden_layers": 2}))
    assert not sizes.stands_beside(HERE, sizes.bert_of(task, 2, TINY))
