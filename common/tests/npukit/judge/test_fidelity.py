"""Fidelity against brute force in float64, and each gate seen failing."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as cosine_distance

from npukit.judge import fidelity
from npukit.judge.fidelity import compare, gates


@st.composite
def outputs(draw):
    """(reference, ours, sample): decisions of up to five samples among a few classes, ours a little or a lot off."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    classes, seed = draw(st.integers(2, 6)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    reference = (rng.standard_normal((sum(counts), classes)) * draw(st.sampled_from([0.1, 1, 100]))).astype(np.float32)
    ours = reference + rng.standard_normal(reference.shape).astype(np.float32) * draw(st.sampled_from([0, 1e-5, 1]))
    numbers = np.sort(rng.choice(100, len(counts), replace=False))  # samples may be missing in between
    return reference, ours.astype(np.float32), np.repeat(numbers, counts)


@given(outputs())
def test_compare_equals_brute_force(case):
    reference, ours, sample = case
    found = compare(ours, reference, sample, "the reference")
    cosines = [1 - cosine_distance(ours[sample == n].ravel().astype(float),
                                   reference[sample == n].ravel().astype(float))
               for n in np.unique(sample)]
    differences = [max(abs(float(a) - float(b)) for a, b in zip(x, y)) for x, y in zip(ours, reference)]
    tolerance = 1e-4 * max([1.0, *map(abs, reference.ravel().tolist())])
    flips, clear = 0, []
    for mine, theirs in zip(ours.tolist(), reference.tolist()):
        second, first = sorted(theirs)[-2:]
        flips += mine.index(max(mine)) != theirs.index(first) and first - second > tolerance
        if first - second > 100 * tolerance:
            clear.append(mine.index(max(mine)) == theirs.index(first))
    assert found["clear_agreement"] == pytest.approx(np.mean(clear) if 2 * len(clear) >= len(ours) else 0)
    assert found["cosine_mean"] == pytest.approx(np.mean(cosines), abs=1e-9)
    assert found["cosine_min"] == pytest.approx(min(cosines), abs=1e-9)
    assert found["max_abs"] == pytest.approx(max(differences), rel=1e-6)
    assert found["tolerance"] == pytest.approx(tolerance, rel=1e-6)
    assert found["argmax_agreement"] == pytest.approx(np.mean(ours.argmax(1) == reference.argmax(1)))
    assert (found["flips"], found["not_finite"], found["against"]) == (flips, 0, "the reference")
    assert max(d for d, n in zip(differences, sample) if n == found["worst_sample"]) == pytest.approx(max(differences),
                                                                                                      rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_no_number_pretends(value):
    reference = np.eye(3, dtype=np.float32)
    ours = reference.copy()
    ours[1, 2] = value
    found = compare(ours, reference, np.arange(3), "")
    assert (found["not_finite"], found["max_abs"], found["worst_sample"]) == (1, None, 1)
    assert np.isfinite(found["cosine_min"])


def test_decisions_that_are_nearly_all_ties_are_none():
    reference = np.array([[1.0, 1.001, 0]] * 3 + [[5, 1, 0]] * 2, np.float32)
    assert compare(reference, reference, np.arange(5), "")["clear_agreement"] == 0
    assert compare(reference[1:], reference[1:], np.arange(4), "")["clear_agreement"] == 1


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[3, 2\] are compared with a reference \[3, 3\]"):
        compare(np.zeros((3, 2)), np.zeros((3, 3)), np.arange(3), "")


def test_a_tie_may_fall_either_way():
    reference = np.array([[1.0, 1.00005, 0]], np.float32)
    ours = np.array([[1.00005, 1.0, 0]], np.float32)
    found = compare(ours, reference, np.zeros(1, int), "")
    assert (found["argmax_agreement"], found["flips"]) == (0, 0)
    assert all(gate["passes"] for gate in gates(found, "fp32"))


PERFECT = {"max_abs": 0.0, "tolerance": 1e-4, "argmax_agreement": 1.0, "clear_agreement": 1.0, "flips": 0,
           "not_finite": 0}
DIFFERENCE, FLIPS, FINITE = "largest difference from PyTorch", "flipped decisions", "values that are not finite"
KEPT, DECISIONS = "f1 kept from PyTorch fp32", "clear decisions kept from PyTorch fp32"


@pytest.mark.parametrize("precision, change, metrics, failing", [
    ("fp32", {}, (), set()),
    ("fp32", {"max_abs": 1e-4}, (), set()),
    ("fp32", {"max_abs": 1.001e-4}, (), {DIFFERENCE}),
    ("fp32", {"flips": 1}, (), {FLIPS}),
    ("fp32", {"not_finite": 1, "max_abs": None}, (), {FINITE, DIFFERENCE}),
    ("fp32", {}, ("f1", 0.0, 0.9), set()),  # fp32 is judged by its numbers
    ("fp16", {"max_abs": 9.0, "flips": 9, "clear_agreement": 0.5}, ("f1", 0.7, 0.7), set()),
    ("fp16", {}, ("f1", 0.69931, 0.7), set()),
    ("fp16", {}, ("f1", 0.69929, 0.7), {KEPT}),
    ("fp16", {}, ("f1", float("nan"), 0.7), {KEPT}),
    ("fp16", {"not_finite": 1}, ("f1", 0.7, 0.7), {FINITE}),
    ("fp16", {"argmax_agreement": 0.5, "clear_agreement": 0.99}, ("", 0.0, 0.9), set()),
    ("fp16", {"clear_agreement": 0.9899}, ("", 0.9, 0.9), {DECISIONS}),
    ("fp16", {"not_finite": 1}, (), {FINITE})])
def test_each_gate_fails_where_it_should(precision, change, metrics, failing):
    judged = gates({**PERFECT, **change}, precision, *metrics)
    assert {gate["name"] for gate in judged if not gate["passes"]} == failing
    assert all(type(gate["passes"]) is bool and gate.keys() == {"name", "limit", "value", "passes"} for gate in judged)


def test_the_bars_are_those_of_the_house():
    assert (fidelity.TOLERANCE, fidelity.METRIC_KEPT) == (1e-4, 0.999)


@given(outputs())
def test_vectors_are_compared_one_by_one_and_decide_nothing(case):
    reference, ours, sample = case
    found = compare(ours, reference, sample, "", classes=False)
    cosines = [1 - cosine_distance(mine.astype(float), theirs.astype(float)) for mine, theirs in zip(ours, reference)]
    assert found["cosine_mean"] == pytest.approx(np.mean(cosines), abs=1e-9)
    assert found["cosine_min"] == pytest.approx(min(cosines), abs=1e-9)
    assert found["argmax_agreement"] is found["flips"] is None
    assert {key: found[key] for key in ("max_abs", "worst_sample")} == {
        key: compare(ours, reference, sample, "")[key] for key in ("max_abs", "worst_sample")}


@pytest.mark.parametrize("precision, metric", [("fp32", ""), ("fp16", ""), ("fp16", "cosine_mean")])
def test_one_vector_of_many_that_is_turned_misses_its_gate(precision, metric):
    """A mean over all would not see it."""
    reference = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    ours = reference.copy()
    assert all(gate["passes"]
               for gate in gates(compare(ours, reference, np.arange(1000), "", classes=False), precision, metric, 1, 1))
    ours[7] = ours[7, ::-1]
    closeness = compare(ours, reference, np.arange(1000), "", classes=False)
    missed = [gate["name"]
              for gate in gates(closeness, precision, metric, closeness["cosine_mean"], 1) if not gate["passes"]]
    assert closeness["cosine_mean"] > 0.99 and "smallest cosine with PyTorch fp32" in missed
