"""Gears: the best ones against brute force, the one that a sample runs in, and the flag that asks for them."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npukit.errors import UserError
from npukit.gears import MOST, best, gear_of, interpolated, parse

LONGEST = 9
LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=12).map(np.array)
COUNTS = st.integers(1, 5)
COSTS = {
    "tokens": lambda length: length,
    "overhead": lambda length: length + 20.0,  # of each call: how many gears there are does not matter to it
    "attention": lambda length: length**2 + 3 * length,
    "steps": lambda length: -(-length // 4) * 4,  # a chip that fills up to blocks of its own: many gears are as good
    "flat": lambda length: np.ones(len(length)),
    "measured": lambda length: np.interp(length, [1, 4, LONGEST], [0.3, 0.31, 5.0]),
}
DEADLINE = settings(deadline=None)


def total(lengths, gears, cost):
    """Return what the samples cost, each in the smallest gear that holds it."""
    return sum(float(cost(np.array([min(gear for gear in gears if gear >= length)]))[0]) for length in lengths)


def brute_force(lengths, count, cost):
    """Return the smallest cost of any gears that hold all samples, be they a sample's length or not."""
    longest = max(lengths)
    return min(total(lengths, [*shorter, longest], cost)
               for size in range(min(count, longest)) for shorter in itertools.combinations(range(1, longest), size))


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@DEADLINE
@given(LENGTHS, COUNTS)
def test_the_best_gears_cost_what_brute_force_finds(cost, lengths, count):
    gears = best(lengths, count, cost)
    assert total(lengths, gears, cost) == pytest.approx(brute_force(lengths, count, cost))
    assert 1 <= len(gears) <= count and gears[-1] == lengths.max()
    assert gears == sorted(set(gears)) and set(gears) <= set(lengths.tolist()), "ascending, each some sample's length"
    assert all(type(gear) is int for gear in gears), "they are written to files and command lines"


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@DEADLINE
@given(LENGTHS)
def test_more_gears_never_cost_more(cost, lengths):
    costs = [total(lengths, best(lengths, count, cost), cost) for count in range(1, LONGEST + 2)]
    assert all(more <= fewer + 1e-9 for fewer, more in itertools.pairwise(costs))
    assert costs[-1] == pytest.approx(total(lengths, lengths, cost)), "with a gear for each length nothing is filled up"


@DEADLINE
@given(LENGTHS, COUNTS, st.randoms())
def test_the_gears_depend_on_the_histogram_alone(lengths, count, chance):
    shuffled = lengths.tolist()
    chance.shuffle(shuffled)
    assert best(np.array(shuffled), count) == best(lengths, count) == best(lengths, count)
    assert best(np.repeat(lengths, 3), count, COSTS["attention"]) == best(lengths, count, COSTS["attention"])


@pytest.mark.parametrize("lengths, count, gears", [
    ([7], 1, [7]), ([7], 8, [7]), ([5, 5, 5], 2, [5]), ([1, 9], 1, [9]), ([1, 9], 2, [1, 9]),
    ([1, 1, 1, 8, 9], 2, [1, 9]), ([1, 8, 8, 8, 9, 9, 9], 2, [1, 9]), ([2, 3, 9, 10], 2, [3, 10])])
def test_gears_by_hand(lengths, count, gears):
    assert best(np.array(lengths), count) == gears


def test_no_gear_is_spent_on_nothing():
    assert best(np.arange(1, 10), 5, COSTS["flat"]) == [9]
    assert len(best(np.arange(1, 10), 9, COSTS["steps"])) == 3


def test_the_limits_of_atc():
    lengths = np.arange(1, 513)
    assert len(best(lengths, MOST)) == MOST == 100
    for count in (-1, 0, MOST + 1):
        with pytest.raises(UserError, match=f"{count} gears were asked for; ATC takes 1 to 100"):
            best(lengths, count)


@DEADLINE
@given(LENGTHS, st.sets(st.integers(1, LONGEST)).map(lambda shorter: sorted({*shorter, LONGEST})))
def test_a_sample_runs_in_the_smallest_gear_that_holds_it(lengths, gears):
    for length, which in zip(lengths, gear_of(lengths, gears)):
        assert gears[which] == min(gear for gear in gears if gear >= length)


def test_a_sample_that_no_gear_holds_is_named():
    with pytest.raises(UserError, match="sample 2 has 9 tokens, the longest gear is 8; it is never cut"):
        gear_of(np.array([1, 8, 9, 9]), [4, 8])
    assert gear_of(np.array([], int), [4]).shape == (0,)


@pytest.mark.parametrize("text, gears", [
    ("128", [128]), ("32,64,128", [32, 64, 128]), ("128,32", [32, 128]), ("64,64", [64]), (" 8, 16", [8, 16]), ("auto", [2, 5]),
    (",".join(map(str, range(1, 101))), list(range(1, 101)))])
def test_the_flag(text, gears):
    assert parse(text, np.array([2, 2, 5]), count=8) == gears


@pytest.mark.parametrize("text", ["", "a", "Auto", "32,", "1.5", "32 64", "0", "-1", "0,128", "9" * 5000,
                                  ",".join(map(str, range(1, 102)))], ids=lambda text: text[:20])
def test_what_the_flag_does_not_mean(text):
    with pytest.raises(UserError, match=r"--seq_len is '.*'; expected (auto, or lengths|1 to 100 lengths)"):
        parse(text, np.array([2, 5]), count=8)


def test_auto_takes_as_many_as_asked_for():
    assert parse("auto", np.arange(1, 50), count=1) == [49] and len(parse("auto", np.arange(1, 50), count=4)) == 4
    with pytest.raises(UserError, match="0 gears were asked for"):
        parse("auto", np.array([1]), count=0)


def test_measured_costs_choose_other_gears():
    """A chip on which everything up to 32 costs the same wants no gear below 32."""
    lengths = np.array([4] * 50 + [30] * 50 + [100])
    flat = {1: 1.0, 32: 1.0, 128: 4.0}
    assert parse("auto", lengths, 3) == [4, 30, 100]
    assert parse("auto", lengths, 3, flat) == [30, 100]
    assert interpolated(flat)(np.array([16, 80, 256])).tolist() == [1.0, 2.5, 8.0]


@pytest.mark.parametrize("measured", [{32: 1.0}, {32: 2.0, 64: 1.0}, {0: 1.0, 64: 2.0}, {32: 0.0, 64: 1.0}])
def test_costs_that_cannot_be(measured):
    with pytest.raises(UserError, match="rise with them"):
        interpolated(measured)
