"""The network against allennlp 2.10.1 itself, in its own Python; and what holds without it: batches, files, the graph."""
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest
import scripts
import sizes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from suite import lacks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import bilm
import bilm_files
import characters
from npukit import graph
from npukit.errors import UserError
from npukit.judge import fidelity

TINY = ROOT / "data" / "tiny" / "elmo"
ORACLE = Path(os.environ.get("NPUKIT_ORACLE", ROOT / ".oracle"))
PTH2ONNX = scripts.load(HERE / "pth2onnx.py")
OPTIONS = json.loads((TINY / "options.json").read_text())
torch.set_num_threads(1)  # nothing here is large

LONG = "ab" * 40  # more bytes than a word has characters
ODD = ["", "<S>", "</S>", LONG, "é" * 30, "a" + "語" * 17, "\U0001F600", "e\u0301", "a\u00a0b", "\ud800", "\x00",
       "x" * 48, "x" * 49]


def variant(**changes):
    """Return the tiny options with some of the network's own changed."""
    options = json.loads(json.dumps(OPTIONS))
    for part in ("lstm", "char_cnn"):
        options[part] |= {key: value for key, value in changes.items() if key in options[part]}
    return options


VARIANTS = {"tiny": OPTIONS, "tanh, no clips": variant(activation="tanh", cell_clip=None, proj_clip=0),
            "deep, tight clips": variant(n_layers=3, n_highway=1, cell_clip=0.5, proj_clip=0.3)}
EXACT = {"tanh, no clips": 3e-5}  # where nothing is clipped, numbers are larger; else 1e-5


def network(options, seed=3):
    return bilm.BiLm(options, PTH2ONNX.random(options, seed)).eval()


@pytest.fixture(scope="module")
def net():
    return network(OPTIONS)


def words(rng, count):
    """Return words of letters, of bytes of any script, odd ones, and some that repeat."""
    letters = ["".join(map(chr, rng.integers(97, 123, rng.integers(1, 12)))) for _ in range(count)]
    scripts_ = ["".join(map(chr, rng.integers(0x80, 0x3000, rng.integers(1, 40)))) for _ in range(count)]
    return [[letters[i], scripts_[i], ODD[i % len(ODD)], "the"][rng.integers(4)] for i in range(count)]


def batches():
    """Return batches of sentences: every length 1 to 64, sizes 1 to 32, even and ragged."""
    rng = np.random.default_rng(5)
    shapes = [[length] for length in (1, 2, 8, 64)] + [[length] * size for length, size in ((1, 32), (7, 4))]
    shapes += [rng.integers(1, longest + 1, size).tolist() for longest, size in ((64, 32), (5, 9), (33, 2), (3, 16))]
    shapes += [list(range(1, 33)), list(range(33, 65))]
    return [[words(rng, length) for length in lengths] for lengths in shapes]


# --- Against allennlp ------------------------------------------------------------------------------------------------


def oracle(folder, *flags):
    """Run oracle.py in allennlp's Python; skip where it is not built, or fail under NPUKIT_REQUIRE_ALL."""
    python = ORACLE / "bin" / "python"
    if not python.exists():
        message = f"allennlp's Python is not at {ORACLE}; `make -C models/elmo oracle` builds it (NPUKIT_ORACLE names another place)"
        lacks(message)
    environment = {key: value
                   for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([python, HERE / "oracle.py", *map(str, flags)], cwd=folder, capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def arrays(path):
    with np.load(path) as found:
        return list(found.values())


def test_words_are_spelled_as_allennlp_spells_them(tmp_path):
    rng = np.random.default_rng(9)
    anything = ["".join(chr(c) for c in rng.integers(0, 0x110000, 20)) for _ in range(200)]
    sentences = [*batches(), [ODD], [anything], [[w] for w in anything]]
    (tmp_path / "sentences.json").write_text(json.dumps(sentences))
    oracle(tmp_path, "spell", "--input_file", "sentences.json", "--output_file", "ids.npz")
    theirs = arrays(tmp_path / "ids.npz")
    assert len(theirs) == len(sentences)
    for batch, ids in zip(sentences, theirs):
        assert np.array_equal(characters.batch_to_ids(batch), ids)


def apart(ours, theirs) -> float:
    """Return the largest difference, as a share of the largest component (at least 1): how sums are rounded is the processor's own."""
    return np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())


@pytest.mark.parametrize("name", VARIANTS)
def test_vectors_and_layers_are_allennlps(name, tmp_path):
    options = VARIANTS[name]
    net = network(options)
    bilm_files.write(tmp_path, options, PTH2ONNX.random(options, 3))
    ids = [characters.batch_to_ids(batch) for batch in (batches() if name == "tiny" else batches()[-4:-2])]
    np.savez(tmp_path / "ids.npz", *ids)
    oracle(tmp_path, "answers", "--option_file", "options.json", "--weight_file", "weights.hdf5", "--input_file",
           "ids.npz",
           "--output_file", "answers.npz")
    theirs = arrays(tmp_path / "answers.npz")
    assert len(theirs) == 2 * len(ids)
    for batch, vectors, layers in zip(ids, theirs[::2], theirs[1::2]):
        with torch.no_grad():
            ours, ours_layers = net(torch.from_numpy(batch)).numpy(), net.activations(torch.from_numpy(batch))
        assert apart(ours, vectors) <= EXACT.get(name, 1e-5)
        mask = (batch > 0).any(2)
        for layer, with_boundaries in zip(ours_layers, layers, strict=True):
            assert apart(layer.numpy(), with_boundaries[:, 1:-1] * mask[:, :, None]) <= EXACT.get(name, 1e-5)


def test_allennlps_own_graph_is_the_original_recipe(net, tmp_path):
    """At most 8 words, filled up with characters: the network takes the filling for words, as the original's does."""
    bilm_files.write(tmp_path, OPTIONS, PTH2ONNX.random(OPTIONS, 3))
    oracle(tmp_path, "export", "--option_file", "options.json", "--weight_file", "weights.hdf5", "--word_len", 8,
           "--output_file", "raw.onnx")
    ids = np.full((1, 8, 50), characters.PADDING, np.int32)
    ids[0, :3] = characters.sentence_to_ids(["It", "rained", "."])
    graph.simplify(tmp_path / "raw.onnx", tmp_path / "elmo.onnx", {"input": [1, 8, 50]}, {"input": ids})
    found = onnxruntime.InferenceSession(tmp_path / "elmo.onnx").run(None, {"input": ids})[0]
    with torch.no_grad():
        assert np.abs(found - net(torch.from_numpy(ids)).numpy()).max() <= 1e-5
        exact = net(torch.from_numpy(ids[:, :3])).numpy()
    assert np.abs(found[:, :3] - exact).max() > 0.01, "the filling has a say in the words before it"


# --- Without it ------------------------------------------------------------------------------------------------------

SENTENCES = st.lists(st.lists(st.sampled_from(["the", "sun", "rose", LONG, "é", "."]), min_size=1, max_size=6),
                     min_size=1, max_size=5)


@settings(deadline=None, max_examples=25)
@given(SENTENCES, st.integers(0, 3), st.randoms())
def test_a_vector_depends_on_its_sentence_alone(net, sentences, wider, random):
    """Whatever stands beside a sentence, in whichever order, and however much room there is behind it."""
    alone = [net(torch.from_numpy(characters.batch_to_ids([s])))[0] for s in sentences]
    order = random.sample(range(len(sentences)), len(sentences))
    together = net(torch.from_numpy(characters.batch_to_ids([sentences[i] for i in order],
                                                            max(map(len, sentences)) + wider)))
    for row, number in zip(together, order):
        length = len(sentences[number])
        assert (row[:length] - alone[number]).abs().max() <= 1e-5
        assert (row[length:] == 0).all()


def test_ids_are_a_byte_more_than_the_byte():
    assert characters.word_to_ids("aé")[:6].tolist() == [259, ord("a") + 1, 0xc3 + 1, 0xa9 + 1, 260, 261]
    assert characters.word_to_ids(LONG).tolist() == [259, *([98, 99] * 24), 260]
    assert characters.word_to_ids("</S>")[:4].tolist() == [259, 258, 260, 261]
    assert not characters.batch_to_ids([["a"], ["a", "b"]])[0, 1].any()


def test_random_weights_reach_their_clips_and_keep_words_apart(net, monkeypatch):
    """Else the gates would pass whatever is broken."""
    reached = {"cell": [], "output": []}
    clip = bilm.clipped

    def spy(x, limit):
        reached["cell" if x.shape[-1] == OPTIONS["lstm"]["dim"]
                else "output"].append((x.abs() >= limit).float().mean().item())
        return clip(x, limit)
    monkeypatch.setattr(bilm, "clipped", spy)
    lines = (TINY / "news.en.heldout-00000-of-00050").read_text().splitlines()
    ids = torch.from_numpy(characters.batch_to_ids([line.split() for line in lines]))
    vectors = net(ids)[(ids > 0).any(2)]
    for kind, shares in reached.items():
        assert 0.001 < np.mean(shares) < 0.15, kind
    cosine = torch.nn.functional.cosine_similarity(vectors[:-1], vectors[1:])
    assert 0.3 < vectors.std() < 3 and cosine.mean() < 0.7 and cosine.max() < 0.99
    swapped = vectors[[1, 0, *range(2, len(vectors))]].numpy()
    closeness = fidelity.compare(swapped, vectors.numpy(), np.arange(len(vectors)), "PyTorch", classes=False)
    assert not any(gate["passes"] for gate in fidelity.gates(closeness, "fp32")[1:])


def no_mask(net):
    """The backward direction runs over what lies behind a sentence, as if it were words."""
    forward = bilm.Lstm.forward
    return {"forward": lambda self, x, mask: forward(self, x, mask if mask is None else torch.ones_like(mask))}


def no_clip(net):
    return {"clipped": lambda x, limit: x}


def no_boundaries(net):
    step = bilm.Lstm.step
    return {"step": lambda self, gates, cell: step(self, gates, torch.zeros_like(cell) if len(cell) == 1 else cell)}


@pytest.mark.parametrize("fault, precision",
                         [(no_mask, "fp32"), (no_boundaries, "fp32"), (no_clip, "fp32"), (no_mask, "fp16"),
                                              (no_boundaries, "fp16")],
                         ids=lambda value: getattr(value, "__name__", value))
def test_the_gates_see_a_planted_fault(net, monkeypatch, fault, precision):
    lines = (TINY / "news.en.heldout-00000-of-00050").read_text().splitlines()
    ids = torch.from_numpy(characters.batch_to_ids([line.split() for line in lines]))
    inside = (ids > 0).any(2)
    right = net(ids)[inside].numpy()
    for name, broken in fault(net).items():
        monkeypatch.setattr(bilm if name == "clipped" else bilm.Lstm, name, broken)
    closeness = fidelity.compare(net(ids)[inside].numpy(), right, inside.nonzero()[:, 0].numpy(), "PyTorch",
                                 classes=False)
    assert [gate["name"] for gate in fidelity.gates(closeness, precision) if not gate["passes"]]


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "elmo.onnx"
    PTH2ONNX.export(net, 6, path)
    return path


def test_the_graph_is_one_that_atc_takes_and_holds_each_weight_once(net, exported):
    graph.check(graph.load(exported))
    model = onnx.load(exported)
    held = sum(np.prod(tensor.dims) for tensor in model.graph.initializer)
    assert held <= 1.02 * sum(tensor.numel() for tensor in net.state_dict().values())
    steps = [node for node in model.graph.node if node.op_type == "MatMul"]
    # For each layer and direction: one for all input products; at each step one for all gates, but for the first, and the projection.
    assert len(steps) == 4 * (1 + 5 + 6)


@settings(deadline=None, max_examples=20)
@given(SENTENCES)
def test_the_graph_answers_as_the_network_at_any_batch_size(net, exported, sentences):
    ids = characters.batch_to_ids(sentences, 6)
    found = onnxruntime.InferenceSession(exported).run(None, {"input": ids})[0]
    assert np.abs(found - net(torch.from_numpy(ids)).numpy()).max() <= 1e-5


# --- Files -----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_the_same_again(tmp_path):
    weights = PTH2ONNX.random(OPTIONS, 3)
    path = bilm_files.write(tmp_path, OPTIONS, weights)
    first = path.read_bytes()
    found = bilm_files.read_weights(path, bilm_files.read_options(tmp_path / "options.json"))
    assert list(found) == list(weights) and all(np.array_equal(found[name], weights[name]) for name in weights)
    bilm_files.write(tmp_path, OPTIONS, PTH2ONNX.random(OPTIONS, 3))
    assert path.read_bytes() == first


def lost(file):
    del file["CNN/W_cnn_1"]


def a_group(file):
    lost(file)
    file.create_group("CNN/W_cnn_1")


def misshapen(file):
    del file["char_embed"]
    file["char_embed"] = np.zeros((260, 8), np.float32)


def of_whole_numbers(file):
    del file["CNN_proj/b_proj"]
    file["CNN_proj/b_proj"] = np.zeros(16, np.int64)


def not_finite(file):
    file["RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell/B"][3] = np.nan


@pytest.mark.parametrize("damage, said", [
    (lost, "no data set CNN/W_cnn_1"), (a_group, "no data set CNN/W_cnn_1"),
    (of_whole_numbers, r"b_proj is int64\[16\]"),
    (misshapen, r"char_embed is float32\[260, 8\], the options ask for float\[261, 8\]"),
    (not_finite, "Cell0/LSTMCell/B holds values that are not finite")],
                         ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_weights_file_is_named(tmp_path, damage, said):
    path = bilm_files.write(tmp_path, OPTIONS, PTH2ONNX.random(OPTIONS, 3))
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(UserError, match=said):
        bilm_files.read_weights(path, OPTIONS)


def test_other_options_do_not_fit_the_weights(tmp_path):
    path = bilm_files.write(tmp_path, OPTIONS, PTH2ONNX.random(OPTIONS, 3))
    with pytest.raises(UserError, match="the options ask for"):
        bilm_files.read_weights(path, variant(dim=40))


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(90)])
def test_a_file_that_is_no_hdf5_is_named(tmp_path, content):
    (tmp_path / "weights.hdf5").write_bytes(content)
    with pytest.raises(UserError, match="is no whole HDF5 file"):
        bilm_files.read_weights(tmp_path / "weights.hdf5", OPTIONS)


@pytest.mark.parametrize("text, said", [
    ("{", "holds no options"), ("[]", "holds no options"), ('{"lstm": {}}', "has no char_cnn"),
    ('{"lstm": 3, "char_cnn": {}}', "has no"),
    (json.dumps(variant(dim=0)), "does not fit: it has sizes"),
    (json.dumps(variant(n_layers="2")), "does not fit: it has sizes"),
    (json.dumps(variant(activation="gelu")), "expected relu or tanh"),
    (json.dumps(variant(n_characters=261)), "261 characters, "),
    (json.dumps(variant(max_characters_per_token=40)), "40 characters a word, expected 50"),
    (json.dumps(variant(cell_clip=-1)), "clips"),
    (json.dumps(variant(use_skip_connections=False)), "no skip connections"),
    (json.dumps(variant(filters=[[51, 3]])), "51 characters wide")])
def test_options_that_do_not_fit_are_named(tmp_path, text, said):
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(UserError, match=said):
        bilm_files.read_options(tmp_path / "options.json")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"options.json is not there"):
        bilm_files.read_options(tmp_path / "options.json")
    with pytest.raises(UserError, match=r"weights.hdf5 is not there"):
        bilm_files.read_weights(tmp_path / "weights.hdf5", OPTIONS)


ORIGINAL = {"lstm": {"use_skip_connections": True, "projection_dim": 512, "cell_clip": 3, "proj_clip": 3, "dim": 4096,
                     "n_layers": 2},
            "char_cnn": {"activation": "relu", "n_highway": 2, "embedding": {"dim": 16}, "n_characters": 262,
                         "max_characters_per_token": 50,
                         "filters": [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]]}}


def test_the_original_s_speed_stands_beside_its_own_size_alone():
    small = ORIGINAL | {"lstm": ORIGINAL["lstm"] | {"n_layers": 1}}
    counts = [sum(int(np.prod(shape)) for shape in bilm_files.shapes(options).values())
              for options in (ORIGINAL, small, OPTIONS)]
    assert [sizes.stands_beside(HERE, count) for count in counts] == [True, False, False]
