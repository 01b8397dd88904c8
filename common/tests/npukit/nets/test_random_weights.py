"""Random weights whose answers mean something: gates on them see what is broken."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.errors import JobFailed
from npukit.judge.fidelity import compare, gates
from npukit.nets.random_weights import LARGEST_SHARE, spread

N, L, H, T = 12, 10, 16, 5  # samples, tokens, hidden, classes


class Net:
    """A small tagger: one mixing layer that reads the mean of the unmasked tokens, one random head."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.layer = rng.standard_normal((H, H)).astype(np.float32) / np.sqrt(H)
        self.weight = rng.standard_normal((T, H)).astype(np.float32) * 0.02
        self.bias = rng.standard_normal(T).astype(np.float32)  # an untrained head: its bias decides alone

    def states(self, inputs, mask):
        mean = (inputs * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        return np.tanh((inputs + mean[:, None]) @ self.layer)

    def logits(self, inputs, mask):
        return self.states(inputs, mask) @ self.weight.T + self.bias


@pytest.fixture
def case():
    """(net with a spread head, inputs, mask, the tokens inside, each token's sample)."""
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((N, L, H)).astype(np.float32)
    mask = (np.arange(L) < rng.integers(L // 2, L, N)[:, None]).astype(np.float32)
    net = Net(seed=5)
    inside = mask == 1
    net.weight, net.bias = spread(net.logits(inputs, mask)[inside], net.weight, net.bias)
    return net, inputs, mask, inside, np.nonzero(inside)[0]


def test_an_untrained_head_has_one_answer_and_a_spread_one_many(case):
    net, inputs, mask, inside, _ = case
    untrained = Net(seed=5).logits(inputs, mask)[inside].argmax(1)
    assert np.bincount(untrained).max() / len(untrained) > 0.95
    logits = net.logits(inputs, mask)[inside]
    assert np.bincount(logits.argmax(1)).max() / len(logits) <= LARGEST_SHARE
    assert logits.std(0).min() >= 1
    assert net.weight.dtype == net.bias.dtype == np.float32


def same(net, inputs, mask):
    return net.logits(inputs, mask)


def two_outputs_swapped(net, inputs, mask):
    return net.logits(inputs, mask)[..., [1, 0, *range(2, T)]]


def mask_dropped(net, inputs, mask):
    return net.logits(inputs, np.ones_like(mask))


def layer_rounded_away(net, inputs, mask):
    step = np.abs(net.layer).max() / 2  # a handful of values are left
    broken = Net(seed=5)
    broken.layer, broken.weight, broken.bias = np.round(net.layer / step) * step, net.weight, net.bias
    return broken.logits(inputs, mask)


def samples_shifted(net, inputs, mask):
    return np.roll(net.logits(inputs, mask), 1, axis=0)


@pytest.mark.parametrize("disturb", [two_outputs_swapped, mask_dropped, layer_rounded_away, samples_shifted])
def test_each_gate_sees_the_disturbance(case, disturb):
    net, inputs, mask, inside, sample = case
    found = compare(disturb(net, inputs, mask)[inside], net.logits(inputs, mask)[inside], sample, "undisturbed")
    fp32 = {gate["name"]: gate["passes"] for gate in gates(found, "fp32")}
    assert not fp32["largest difference from PyTorch"] and not fp32["flipped decisions"]
    fp16 = {gate["name"]: gate["passes"] for gate in gates(found, "fp16")}
    assert not fp16["clear decisions kept from PyTorch fp32"]


def test_half_precision_passes_where_nothing_is_broken(case):
    net, inputs, mask, inside, sample = case
    reference = net.logits(inputs, mask)[inside]
    rounded = reference.astype(np.float16).astype(np.float32)
    assert all(gate["passes"] for gate in gates(compare(rounded, reference, sample, ""), "fp16"))
    assert all(gate["passes"]
               for gate in gates(compare(same(net, inputs, mask)[inside], reference, sample, ""), "fp32"))


@given(st.integers(0, 2**32 - 1))
def test_the_new_head_gives_the_standardised_logits(seed):
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((50, H))
    weight, bias = rng.standard_normal((T, H)), rng.standard_normal(T) * 10
    logits = states @ weight.T + bias
    try:
        new_weight, new_bias = spread(logits, weight, bias)
    except JobFailed:
        return
    expected = 2 * (logits - logits.mean(0)) / logits.std(0)
    assert states @ new_weight.T + new_bias == pytest.approx(expected, abs=1e-9)


def test_a_head_that_cannot_be_spread_is_refused():
    logits = np.zeros((100, 3), np.float32)
    logits[:20, 0] = 1  # the other 80 tie, and the first of the tied takes them
    with pytest.raises(JobFailed, match="gives one class 80% of 100 answers"):
        spread(logits, np.ones((3, 2), np.float32), np.zeros(3, np.float32))
