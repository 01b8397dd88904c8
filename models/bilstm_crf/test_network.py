"""The network, its CRF and its exported form, against other implementations of the same."""
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scripts
import sizes
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torchcrf import CRF

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from bilstm_crf import IMPOSSIBLE, BiLstmCrf, Crf, ExportForm
from cluener import TAGS
from crf_decode import START, STOP, viterbi
from npukit.errors import UserError

pth2onnx = scripts.load(HERE / "pth2onnx.py")
torch.set_num_threads(1)  # nothing here is large

T = len(TAGS)
REAL = [tag for tag in range(T) if tag not in (START, STOP)]  # the 31 tags that a character can have
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32 - 1)


def random_transitions(rng):
    """Transitions as training leaves them: nothing leads into <START> or out of <STOP>."""
    transitions = rng.standard_normal((T, T)).astype(np.float32)
    transitions[START, :] = transitions[:, STOP] = IMPOSSIBLE
    return transitions


@st.composite
def ragged(draw, longest):
    """(features [N, L, T], lengths [N], transitions), random."""
    lengths = np.array(draw(st.lists(st.integers(1, longest), min_size=1, max_size=6)))
    rng = np.random.default_rng(draw(SEEDS))
    features = rng.standard_normal((len(lengths), lengths.max() + draw(st.integers(0, 2)), T)).astype(np.float32)
    return features * draw(st.sampled_from([0.1, 1, 10])), lengths, random_transitions(rng)


def exhaustive(features, transitions):
    """Score all 31 ** L paths of one sentence and return the best, from <START> to <STOP>."""
    scores = np.zeros([len(REAL)] * len(features))
    for step in range(len(features)):
        along = [1] * len(features)
        along[step] = len(REAL)
        scores = scores + features[step, REAL].reshape(along)
        if step:
            along[step - 1] = len(REAL)
            scores = scores + transitions[np.ix_(REAL, REAL)].T.reshape(along)  # [from, to]
    first, last = [1] * len(features), [1] * len(features)
    first[0] = last[-1] = len(REAL)
    scores = scores + transitions[REAL, START].reshape(first) + transitions[STOP, REAL].reshape(last)
    return [REAL[tag] for tag in np.unravel_index(scores.argmax(), scores.shape)]


@RELAXED
@given(ragged(longest=3))
def test_decoding_equals_an_exhaustive_search(case):
    features, lengths, transitions = case
    found = viterbi(features, lengths, transitions)
    for sentence, length, path in zip(features, lengths, found):
        assert path.tolist() == exhaustive(sentence[:length].astype(np.float64), transitions.astype(np.float64))


def torch_crf(transitions):
    """Return pytorch-crf's layer with the same transitions; what starts and ends a sentence has parameters of its own there."""
    crf = CRF(len(REAL), batch_first=True)
    transitions = torch.from_numpy(transitions)
    crf.load_state_dict({"start_transitions": transitions[REAL, START], "end_transitions": transitions[STOP, REAL],
                         "transitions": transitions[REAL][:, REAL].T})
    return crf


def mask_of(lengths, longest):
    return torch.arange(longest) < torch.as_tensor(lengths)[:, None]


@RELAXED
@given(ragged(longest=12))
def test_decoding_equals_pytorch_crf(case):
    features, lengths, transitions = case
    theirs = torch_crf(transitions).decode(torch.from_numpy(features[..., REAL]), mask_of(lengths, features.shape[1]))
    assert [path.tolist() for path in viterbi(features, lengths, transitions)] == [[REAL[t] for t in path]
                                                                                   for path in theirs]


def decode_in_pytorch(features, transitions):
    """Decode one sentence step by step with all 33 tags, as the original's PyTorch decoder walks."""
    features, transitions = torch.from_numpy(features), torch.from_numpy(transitions)
    scores = torch.full((T,), IMPOSSIBLE)
    scores[START] = 0
    pointers = []
    for emission in features:
        best, came_from = (scores + transitions).max(1)
        scores = best + emission
        pointers.append(came_from)
    path = [(scores + transitions[STOP]).argmax()]
    for came_from in reversed(pointers):
        path.append(came_from[path[-1]])
    assert path.pop() == START
    return [int(tag) for tag in reversed(path)]


@RELAXED
@given(ragged(longest=12))
def test_decoding_equals_a_sequential_pytorch_decoder(case):
    features, lengths, transitions = case
    for sentence, length, path in zip(features, lengths, viterbi(features, lengths, transitions)):
        assert path.tolist() == decode_in_pytorch(sentence[:length], transitions)


@pytest.mark.parametrize("behind", [0, 1e9, np.nan, np.inf])
def test_decoding_does_not_read_what_stands_behind_a_sentence(behind):
    rng = np.random.default_rng(0)
    features, lengths = rng.standard_normal((4, 9, T)).astype(np.float32), np.array([1, 4, 8, 9])
    transitions = random_transitions(rng)
    expected = viterbi(features, lengths, transitions)
    for sentence, length in zip(features, lengths):
        sentence[length:] = behind
    for path, alone, sentence, length in zip(viterbi(features, lengths, transitions), expected, features, lengths):
        assert np.array_equal(path, alone)
        assert np.array_equal(path, viterbi(sentence[None, :length], np.array([length]), transitions)[0])


def test_no_sentence_holds_a_boundary_tag():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((8, 6, T)).astype(np.float32)
    features[..., [START, STOP]] += 100
    assert all(set(path) <= set(REAL) for path in viterbi(features, np.full(8, 6), random_transitions(rng)))


@pytest.mark.filterwarnings("ignore:where received a uint8 condition")  # pytorch-crf's own
@RELAXED
@given(SEEDS, st.integers(1, 8), st.integers(1, 4))
def test_the_loss_is_pytorch_crfs(seed, length, count):
    rng = np.random.default_rng(seed)
    crf = Crf()
    transitions = random_transitions(rng)
    crf.load_state_dict({"transitions": torch.from_numpy(transitions)})
    features = rng.standard_normal((count, length, T)).astype(np.float32)
    features[..., [START, STOP]] = -1e4  # pytorch-crf has no such tags
    tags = rng.integers(0, len(REAL), (count, length))
    theirs = -torch_crf(transitions)(torch.from_numpy(features[..., REAL]), torch.from_numpy(tags), reduction="mean")
    ours = crf.loss(torch.from_numpy(features), torch.from_numpy(np.array(REAL)[tags]))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)


def test_a_new_crf_allows_nothing_into_start_or_out_of_stop():
    transitions = Crf().transitions
    assert (transitions[START] == IMPOSSIBLE).all() and (transitions[:, STOP] == IMPOSSIBLE).all()


def small_net(seed=0):
    """A network of the same shape, with gates that are far from their middle."""
    torch.manual_seed(seed)
    net = BiLstmCrf(vocabulary=20, embedding=8, hidden=6).eval()
    with torch.no_grad():
        for parameter in net.bilstm.parameters():
            parameter.mul_(3)
    return net


def padded_batch(lengths, longest, seed=0):
    """Return (ids, mask) int64 [N, longest]; the padding is 0."""
    mask = mask_of(lengths, longest).long()
    return torch.from_numpy(np.random.default_rng(seed).integers(1, 20, mask.shape)) * mask, mask


def inside(features, mask):
    return features[mask.bool()]


LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@RELAXED
@given(LENGTHS, st.integers(0, 5), SEEDS)
@torch.no_grad()
def test_features_depend_on_the_sentence_alone(lengths, more, seed):
    net = small_net()
    ids, mask = padded_batch(lengths, max(lengths), seed)
    together = net(ids, mask)
    longer = net(torch.nn.functional.pad(ids, (0, more)), torch.nn.functional.pad(mask, (0, more)))
    assert torch.allclose(longer[:, :max(lengths)][mask.bool()], inside(together, mask), atol=1e-6)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed % 1000))
    assert torch.allclose(inside(net(ids[order], mask[order]), mask[order]), together[order][mask[order].bool()],
                          atol=1e-6)
    for sentence, length, features in zip(ids, lengths, together):
        assert torch.allclose(net(sentence[None, :length])[0], features[:length],
                              atol=1e-6), "alone, and without any mask"


@RELAXED
@given(LENGTHS, st.integers(0, 5), SEEDS)
@torch.no_grad()
def test_the_export_form_is_the_network(lengths, more, seed):
    net = small_net()
    ids, mask = padded_batch(lengths, max(lengths) + more, seed)
    assert torch.allclose(inside(ExportForm(net)(ids, mask), mask), inside(net(ids, mask), mask), atol=1e-5)


@torch.no_grad()
def test_the_mask_matters(monkeypatch):
    net = small_net()
    ids, mask = padded_batch([3, 12, 7], 12)
    expected = net(ids, mask)
    assert torch.allclose(inside(ExportForm(net)(ids, mask), mask), inside(expected, mask), atol=1e-5)
    unmasked = ExportForm(net)(ids, torch.ones_like(mask))
    assert not torch.allclose(inside(unmasked, mask), inside(expected, mask), atol=1e-2)
    monkeypatch.setattr(ExportForm, "SHUT", 0.0)  # the column is there and shuts nothing
    open_gates = ExportForm(net)(ids, mask)
    assert not torch.allclose(inside(open_gates, mask), inside(expected, mask), atol=1e-2)
    assert torch.allclose(open_gates[1], expected[1], atol=1e-5), "the one that fills the batch needs no mask"


@torch.no_grad()
def test_in_half_precision_the_mask_holds():
    form = ExportForm(small_net()).half()
    ids, mask = padded_batch([3, 12, 7], 12)
    mask.float = mask.half  # the form reads a mask of the arithmetic at hand
    short = form.net.embedding(ids)
    for layer in form.layers:
        short, _ = layer(torch.cat([short, 1 - mask.unsqueeze(2).half()], dim=2))
        assert (short[~mask.bool()] == 0).all(), "the state stays zero in the padding, exactly"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """(network, path of its ONNX graph of 12 characters)."""
    net, path = small_net(), tmp_path_factory.mktemp("graph") / "net.onnx"
    pth2onnx.export(net, 12, path)
    return net, path


@pytest.mark.parametrize("lengths", [[12], [1], [3, 12, 7], [12, 12, 12], [1, 1, 1], [5] * 8], ids=str)
@torch.no_grad()
def test_the_graph_is_the_network(graph, lengths):
    net, path = graph
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids, mask = padded_batch(lengths, 12, seed=len(lengths))
    [features] = session.run(["features"], {"ids": ids.numpy(), "mask": mask.numpy()})
    assert features.dtype == np.float32 and features.shape == (len(lengths), 12, T)
    assert np.allclose(features[mask.bool().numpy()], inside(net(ids, mask), mask).numpy(), atol=1e-5)


def test_the_graph_is_what_atc_takes(graph):
    model = onnx.load(graph[1])
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 13)]
    assert [node.name
            for node in model.graph.input] == ["ids", "mask"] and [o.name for o in model.graph.output] == ["features"]
    assert not {node.op_type for node in model.graph.node} & {"Loop", "Scan", "If"}
    batch, length = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, length.dim_value) == ("bs", 12)


# --- Checkpoints


@pytest.fixture
def state():
    return small_net().state_dict()


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def replaced(name, value):
    return lambda state: {**state, name: value}


def same(state):
    return state


def as_safetensors(state, path):
    save_file(state, path)


def as_original(state, path):
    torch.save({"epoch": 20, "arch": "BilstmCrf", "state_dict": state}, path)


KINDS = {"weights.safetensors": as_safetensors, "best-model.bin": as_original}


@pytest.mark.parametrize("name", KINDS)
def test_checkpoints_are_read(tmp_path, state, name):
    KINDS[name](state, tmp_path / name)
    net = pth2onnx.load(tmp_path / name)
    assert not net.training and all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_half_precision_weights_are_read_in_full(tmp_path, state):
    save_file({name: value.half() for name, value in state.items()}, tmp_path / "a.safetensors")
    assert all(value.dtype == torch.float32
               for value in pth2onnx.load(tmp_path / "a.safetensors").state_dict().values())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("change, reason", [
    (without("embedding.weight"), "has no embedding.weight; it holds bilstm"),
    (without("classifier.weight"), "has no classifier.weight"),
    (without("crf.transitions"), 'does not fit the network: .*Missing key.*"crf.transitions"'),
    (replaced("more", torch.zeros(1)), 'does not fit the network: .*Unexpected key.*"more"'),
    (replaced("classifier.weight", torch.zeros(31, 12)),
     "does not fit the network: .*size mismatch for classifier.weight"),
    (replaced("crf.transitions", torch.zeros(31, 31)), "does not fit the network: .*size mismatch for crf.transitions"),
    (replaced("embedding.weight", torch.zeros(8)), "does not fit the network"),
    (replaced("classifier.weight", torch.zeros(33)), "does not fit the network"),
    (replaced("bilstm.weight_hh_l0", torch.zeros(1, 1)),
     "does not fit the network: .*size mismatch for bilstm.weight_hh_l0"),
    (lambda state: {}, "has no embedding.weight; it holds nothing")])
def test_a_checkpoint_that_does_not_fit(tmp_path, state, name, change, reason):
    KINDS[name](change(state), tmp_path / name)
    with pytest.raises(UserError, match=reason) as caught:
        pth2onnx.load(tmp_path / name)
    assert "\n" not in str(caught.value)


class Code:
    """What an attacker puts into a checkpoint."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def write_code(path, state):
    torch.save({"state_dict": Code()}, path)


def write_pickle(path, state):
    path.write_bytes(pickle.dumps({"state_dict": Code()}, protocol=2))


def write_text(path, state):
    path.write_text("no weights here")


def write_nothing(path, state):
    path.write_bytes(b"")


def write_list(path, state):
    torch.save([1, 2], path)


def write_numbers(path, state):
    torch.save({"state_dict": {"embedding.weight": 1}}, path)


def write_none(path, state):
    torch.save({"state_dict": None}, path)


def write_bare(path, state):
    torch.save(state, path)


def write_half(path, state):
    KINDS["weights.safetensors" if path.suffix == ".safetensors" else "best-model.bin"](state, path)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("write",
                         [write_code, write_pickle, write_text, write_nothing, write_list, write_numbers, write_none,
                                   write_bare, write_half], ids=lambda write: write.__name__)
def test_what_is_no_checkpoint_is_refused_unopened(tmp_path, monkeypatch, state, name, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, state)
    with pytest.raises(UserError, match=f"{name} (is no checkpoint of this model|does not fit the network)") as caught:
        pth2onnx.load(tmp_path / name)
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


@pytest.mark.parametrize("place", ["nowhere.bin", ""])
def test_a_missing_checkpoint(tmp_path, place):
    with pytest.raises(UserError,
                       match=r"is not there; expected weights\.safetensors or the original's best-model\.bin"):
        pth2onnx.load(tmp_path / place)


def test_the_command_ends_with_2_and_one_sentence(tmp_path):
    write_code(tmp_path / "best-model.bin", None)
    command = [sys.executable, HERE / "pth2onnx.py", "--checkpoint", "best-model.bin", "--output", "a.onnx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=scripts.environment())
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "a.onnx").exists() and not (tmp_path / "executed").exists()


def test_the_paths_that_exhaustive_search_scores_are_all_paths():
    """The oracle itself: on two characters it agrees with scoring pair after pair."""
    rng = np.random.default_rng(0)
    features, transitions = rng.standard_normal((2, T)), random_transitions(rng).astype(np.float64)
    best = max(itertools.product(REAL, REAL), key=lambda p: (
        transitions[p[0], START] + features[0, p[0]] + transitions[p[1], p[0]] + features[1, p[1]]
        + transitions[STOP, p[1]]))
    assert exhaustive(features, transitions) == list(best)


def test_the_original_s_speed_stands_beside_its_own_size_alone():
    """The shipped weights are of the original's size; a smaller network is not."""
    shipped = pth2onnx.load(pth2onnx.SHIPPED)
    rows = shipped.embedding.num_embeddings
    assert sizes.stands_beside(HERE, sum(each.numel() for each in shipped.parameters()))
    assert not sizes.stands_beside(HERE, sum(each.numel() for each in BiLstmCrf(rows, hidden=128).parameters()))
