"""BERT from a Hugging Face directory: what is read and what is refused; run in batches and exported, against PyTorch."""
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from npukit.corpus.store import Samples
from npukit.errors import UserError
from npukit.nets import bert

VOCABULARY, LONGEST = 40, 16
CONFIG = {"model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 24, "max_position_embeddings": LONGEST}
TASK = "SequenceClassification"
THREE = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
torch.set_num_threads(1)  # nothing here is large


@pytest.fixture(scope="module")
def state():
    """The weights of a small BERT for classification; biases and LayerNorms are random too, so that none is lost unseen."""
    torch.manual_seed(0)
    net = transformers.BertForSequenceClassification(transformers.BertConfig(**CONFIG))
    return {name: torch.randn_like(value) for name, value in net.state_dict().items()}


def as_safetensors(state, folder):
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def as_pickle(state, folder):
    torch.save(state, folder / "pytorch_model.bin")


KINDS = {"model.safetensors": as_safetensors, "pytorch_model.bin": as_pickle}


def directory(folder, config=CONFIG, state=None, kind="model.safetensors"):
    """Make a Hugging Face directory; return it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if state is not None:
        KINDS[kind](state, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_read(tmp_path, state, kind):
    net = bert.load(TASK, directory(tmp_path, state=state, kind=kind), labels=2)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()) and len(state) == len(net.state_dict())
    assert bert.weights_file(tmp_path).name == kind
    assert not any(module.training for module in net.modules()) and net.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_half_precision_are_read_in_full(tmp_path, state, kind):
    half = {name: value.half() for name, value in state.items()}
    net = bert.load(TASK, directory(tmp_path, {**CONFIG, "dtype": "float16"}, half, kind), labels=2)
    assert all(value.dtype == torch.float32 and torch.equal(value, half[name].float()) for name, value in net.state_dict().items())


def test_weights_of_older_releases_are_read(tmp_path, state):
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
           for name, value in state.items()}
    old["bert.embeddings.position_ids"] = torch.arange(LONGEST)[None]  # a buffer that was saved until 2023
    net = bert.load(TASK, directory(tmp_path, state=old, kind="pytorch_model.bin"), labels=2)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_names_that_dataparallel_prefixed_are_read(tmp_path, state):
    for kind in KINDS:
        folder = tmp_path / kind.replace(".", "_")
        folder.mkdir()
        net = bert.load(TASK, directory(folder, state={f"module.{name}": value for name, value in state.items()}, kind=kind), labels=2)
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_the_files_may_be_named_and_the_config_lie_elsewhere(tmp_path, state):
    for name in ("weights", "config"):
        (tmp_path / name).mkdir()
    directory(tmp_path / "weights", state=state, kind="pytorch_model.bin")
    as_safetensors({name: value + 1 for name, value in state.items()}, tmp_path / "weights")
    (tmp_path / "weights" / "config.json").rename(tmp_path / "config" / "bert_config.json")
    net = bert.load(TASK, tmp_path / "weights" / "pytorch_model.bin", labels=2, config_file=tmp_path / "config" / "bert_config.json")
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()), "the file that was named, not the other"
    for wrong in (tmp_path / "weights" / "other.bin", tmp_path / "config"):
        with pytest.raises(UserError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
            bert.load(TASK, wrong, labels=2, config_file=tmp_path / "config" / "bert_config.json")


@pytest.mark.parametrize("task, hidden, expected", [
    ("SequenceClassification", 768, 0.1), ("TokenClassification", 768, 0.02), ("QuestionAnswering", 768 * 4, 0.01),
    ("QuestionAnswering", 48, 0.08)])
def test_random_weights_are_as_wide_as_the_answers_need(task, hidden, expected):
    assert bert.random_range(task, {"hidden_size": hidden}) == pytest.approx(expected)


def without(*names):
    return lambda state: {name: value for name, value in state.items() if not name.startswith(names)}


def replaced(name, value):
    return lambda state: {**state, name: value}


def same(state):
    return state


REFUSED = {  # what differs in config.json, in the weights: what the answer says
    "three labels": (THREE, replaced("classifier.weight", torch.zeros(3, 16)), r"config\.json has 3 labels, the task has 2"),
    "three labels by the config alone": (THREE, same, r"config\.json has 3 labels, the task has 2"),
    "three labels by the weights alone": ({}, replaced("classifier.weight", torch.zeros(3, 16)),
                                          r"classifier\.weight is \[3, 16\], config\.json makes it \[2, 16\]"),
    "no head": ({}, without("classifier."), r"classifier\.bias is missing, and 1 more"),
    "a parameter less": ({}, without("classifier.bias"), r"classifier\.bias is missing$"),
    "a layer less": ({}, without("bert.encoder.layer.1."), r"layer\.1\..* is missing, and 15 more"),
    "no weights at all": ({}, lambda state: {"more": torch.zeros(1)}, r"is missing, and \d+ more"),
    "another vocabulary": ({"vocab_size": 41}, same, r"word_embeddings\.weight is \[40, 16\], config\.json makes it \[41, 16\]"),
    "a vocabulary that is text": ({"vocab_size": "40"}, same, "is not a BERT's; expected model_type bert and a vocab_size"),
    "another model": ({"model_type": "gpt2"}, same, "is not a BERT's; expected model_type bert and a vocab_size"),
    "a size that is text": ({"hidden_size": "x"}, same, "'hidden_size' expected int"),
    "heads that do not divide": ({"num_attention_heads": 3}, same, "not a multiple of the number of attention heads"),
    "an unknown activation": ({"hidden_act": "nope"}, same, "nope"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config, change, reason", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, state, capfd, kind, config, change, reason):
    directory(tmp_path, {**CONFIG, **config}, change(state), kind)
    with pytest.raises(UserError, match=reason) as caught:
        bert.load(TASK, tmp_path, labels=2)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "one sentence, and no report or bar of another's beside it"


@pytest.mark.parametrize("config", [change for name, (change, *_) in REFUSED.items() if name in (
    "another model", "a vocabulary that is text", "a size that is text", "heads that do not divide", "an unknown activation")])
def test_random_weights_need_a_sound_config_too(tmp_path, config):
    with pytest.raises(UserError):
        bert.load(TASK, directory(tmp_path, {**CONFIG, **config}), labels=2, seed=1)


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("config, reason", [
    (None, "has no config.json; a Hugging Face directory is expected"), ("", r"config\.json is not JSON"),
    ("{", r"config\.json is not JSON"), ("\ufeff{}", r"config\.json is not JSON"), ("[]", "is not a BERT's"),
    ("null", "is not a BERT's"), ("{}", "is not a BERT's; expected model_type bert and a vocab_size")], ids=repr)
def test_a_damaged_config(tmp_path, state, config, reason, seed):
    directory(tmp_path, config or "", state)
    if config is None:
        (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=reason):
        bert.load(TASK, tmp_path, labels=2, seed=seed)


def test_a_folder_without_weights(tmp_path):
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UserError, match=r"has no config\.json|holds neither model\.safetensors nor pytorch_model\.bin"):
            bert.load(TASK, missing, labels=2)
        directory(tmp_path)


class Code:
    """What an attacker puts into a checkpoint."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def code(path, state):
    torch.save({**state, "more": Code()}, path)


def text(path, state):
    path.write_text("no weights here")


def nothing(path, state):
    path.write_bytes(b"")


def a_list(path, state):
    torch.save([1, 2], path)


def numbers(path, state):
    torch.save({"classifier.weight": 1}, path)


def half_a_file(path, state):
    KINDS[path.name](state, path.parent)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [code, text, nothing, a_list, numbers, half_a_file], ids=lambda write: write.__name__)
def test_what_is_no_file_of_weights_is_refused_unopened(tmp_path, monkeypatch, state, kind, write):
    monkeypatch.chdir(tmp_path)
    write(directory(tmp_path) / kind, state)
    with pytest.raises(UserError) as caught:
        bert.load(TASK, tmp_path, labels=2)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_random_weights_depend_on_the_seed_alone(tmp_path):
    first, again, other = (bert.load(TASK, directory(tmp_path), labels=2, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    assert first["classifier.weight"].std() > 0.05, "wide enough for samples to differ"


@pytest.mark.parametrize("config", [CONFIG, {**CONFIG, **THREE}, {**CONFIG, "num_labels": 3}], ids=["two", "id2label", "num_labels"])
def test_random_weights_have_as_many_labels_as_the_task(tmp_path, config):
    net = bert.load(TASK, directory(tmp_path, config), labels=2, seed=1)
    assert net.classifier.weight.shape == (2, 16) and not net.training
    again = tmp_path / "saved"
    net.save_pretrained(again)
    read_back = bert.load(TASK, again, labels=2)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in read_back.state_dict().items())


def test_the_vocabulary_belongs_to_the_weights(tmp_path):
    bert.check_vocabulary(directory(tmp_path), VOCABULARY)
    with pytest.raises(UserError, match=r"has embeddings for 40 word pieces, the tokenizer of the inputs has 41"):
        bert.check_vocabulary(tmp_path, VOCABULARY + 1)
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match=r"has no config\.json"):
        bert.check_vocabulary(tmp_path, VOCABULARY)


# --- Batches


def samples_of(lengths, seed=0):
    """Return samples of these lengths: random ids and their mask."""
    flat = np.random.default_rng(seed).integers(1, VOCABULARY, sum(lengths))
    return Samples({"input_ids": flat, "attention_mask": np.ones_like(flat)}, np.array(lengths))


def whole(samples):
    """Return all samples padded to the longest, {input: int64 [N, L]}."""
    return samples.padded(np.arange(len(samples)), samples.lengths.max())


LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=80)
SIZES = st.none() | st.integers(1, 7)


@settings(deadline=None)
@given(LENGTHS, SIZES, st.booleans())
def test_batches_give_each_sample_its_own_answer(lengths, size, per_token):
    samples, seen = samples_of(lengths), []

    def run(feeds):
        ids, mask = feeds["input_ids"], feeds["attention_mask"]
        assert ids.shape == mask.shape and ids.shape[1] == mask.sum(1).max(), "no longer than the longest in it"
        seen.append(len(ids))
        answer = np.stack([ids, -ids], axis=2).astype(np.float32)
        return answer if per_token else answer.sum(1)

    outputs = bert.run_batches(run, samples, size)
    ids = whole(samples)["input_ids"]
    expected = np.stack([ids, -ids], axis=2).astype(np.float32)
    assert outputs.dtype == np.float32 and np.array_equal(outputs, expected if per_token else expected.sum(1))
    assert max(seen) <= bert.BATCH and (size is None or set(seen) == {size})


@pytest.mark.parametrize("size, length", [(None, 20), (3, 16), (2, 20)])
def test_a_graph_of_one_length_gets_it_and_what_stands_behind_a_sample_is_dropped(size, length):
    samples = samples_of([5, 16, 1, 5, 9])

    def run(feeds):
        assert feeds["input_ids"].shape == (size or len(samples), length) and feeds["input_ids"].flags.c_contiguous
        return np.stack([feeds["input_ids"] + 7, feeds["attention_mask"]], axis=2).astype(np.float32)

    answers = bert.run_batches(run, samples, size, [length])
    inside = np.arange(16) < samples.lengths[:, None]
    assert np.array_equal(answers[..., 0], np.where(inside, whole(samples)["input_ids"] + 7, 0))
    assert np.array_equal(answers[..., 1], inside)


def test_a_graph_of_several_lengths_gets_the_shortest_that_holds_a_batch():
    seen = []

    def run(feeds):
        seen.append(feeds["input_ids"].shape)
        return feeds["input_ids"][:, :1].astype(np.float32)

    samples = samples_of([5, 16, 1, 5, 9])
    answers = bert.run_batches(run, samples, 2, [5, 8, 20])
    assert seen == [(2, 5), (2, 20), (2, 20)] and np.array_equal(answers, whole(samples)["input_ids"][:, :1])


@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize("task", [TASK, "TokenClassification"])
def test_batches_answer_as_one_by_one(tmp_path, task, size):
    net = bert.load(task, directory(tmp_path), labels=2, seed=1)
    samples = samples_of([5, 16, 1, 5, 9, 2, 16])

    def run(feeds):
        assert size is None or len(feeds["input_ids"]) == size
        with torch.inference_mode():
            return net(**{name: torch.from_numpy(feed) for name, feed in feeds.items()}).logits.numpy()

    together = bert.run_batches(run, samples, size)
    reference = bert.logits(net, samples)
    for number, length in enumerate(samples.lengths):
        alone = run(samples.padded(np.repeat(number, size or 1), length))[0]
        own = number if task == TASK else (number, slice(length))  # behind a sample stands what its batch's padding gave
        assert np.allclose(together[own], alone, atol=1e-6) and np.allclose(reference[own], alone, atol=1e-6)


# --- Export

OUTPUTS = {TASK: {"output": {0: "N"}}, "TokenClassification": {"output": {0: "N", 1: "L"}},
           "QuestionAnswering": {"start_logits": {0: "N", 1: "L"}, "end_logits": {0: "N", 1: "L"}}}
INPUTS = ["input_ids", "attention_mask"]


@pytest.fixture(scope="module", params=OUTPUTS)
def exported(request, tmp_path_factory):
    """(task, network, path of its graph)."""
    folder = tmp_path_factory.mktemp("exported")
    net = bert.load(request.param, directory(folder), labels=2, seed=1)
    bert.export(net, INPUTS, OUTPUTS[request.param], folder / "net.onnx")
    return request.param, net, folder / "net.onnx"


@pytest.mark.parametrize("lengths", [[8], [1], [16], [5, 8], [3, 12, 7], [16, 1, 16], [4] * 9], ids=str)
@torch.no_grad()
def test_the_graph_is_the_network(exported, lengths):
    task, net, path = exported
    feeds = whole(samples_of(lengths))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS[task], session.run(None, feeds)))
    made = net(**{name: torch.from_numpy(feed) for name, feed in feeds.items()})
    for name, output in found.items():
        expected = made["logits" if name == "output" else name].numpy()
        assert output.shape == expected.shape and np.allclose(output, expected, atol=1e-5), name
        unmasked = session.run([name], {**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])})[0]
        assert np.allclose(unmasked, output, atol=1e-3) == (len(set(lengths)) == 1), "the mask matters where there is padding"


def test_the_graphs_logits_are_the_networks(exported):
    task, net, path = exported
    samples = samples_of([5, 8, 2])
    expected = bert.logits(net, samples)
    assert expected.shape == ((3, 2) if task == TASK else (3, 8, 2))
    assert np.allclose(bert.graph_logits(path, samples), expected, atol=1e-5)


def test_the_graph_is_what_atc_takes(exported):
    task, _, path = exported
    model = onnx.load(path)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 13)]
    assert [value.name for value in model.graph.input] == INPUTS and [value.name for value in model.graph.output] == list(OUTPUTS[task])
    assert all([dim.dim_param for dim in value.type.tensor_type.shape.dim] == ["N", "L"] for value in model.graph.input)
    assert all(value.type.tensor_type.elem_type == onnx.TensorProto.INT64 for value in model.graph.input)


def test_an_export_leaves_the_network_as_it_was(tmp_path):
    """The exporter restores the mode of the outermost module, and with it dropout, were that module in training."""
    net = bert.load(TASK, directory(tmp_path), labels=2, seed=1)
    samples = samples_of([5, 9, 2])
    before = bert.logits(net, samples)
    bert.export(net, INPUTS, OUTPUTS[TASK], tmp_path / "net.onnx")
    assert not any(module.training for module in net.modules())
    assert np.array_equal(bert.logits(net, samples), before)
