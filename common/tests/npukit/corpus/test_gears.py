"""Gears: the best ones against brute force, the one that a sample runs in, and the flag that asks for them."""
import argparse
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npukit.corpus.gears import MOST, add_options, best, choose, gear_of, interpolated, multiples, parse
from npukit.errors import UserError

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


CANDIDATES = st.sets(st.integers(1, 2 * LONGEST), max_size=6).map(lambda few: sorted({*few, 2 * LONGEST}))


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@DEADLINE
@given(LENGTHS, COUNTS, CANDIDATES)
def test_the_best_of_given_lengths_cost_what_brute_force_finds(cost, lengths, count, among):
    gears = best(lengths, count, cost, among)
    assert set(gears) <= set(among) and 1 <= len(gears) <= count
    assert gears == sorted(set(gears)) and gears[-1] == min(length for length in among if length >= max(lengths))
    assert set(gear_of(lengths, gears)) == set(range(len(gears))), "no gear is compiled for nothing"
    cheapest = min(total(lengths, chosen, cost) for size in range(1, count + 1)
                   for chosen in itertools.combinations(among, size) if chosen[-1] >= max(lengths))
    assert total(lengths, gears, cost) == pytest.approx(cheapest)


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
    ("128", [128]), ("32,64,128", [32, 64, 128]), ("128,32", [32, 128]), ("64,64", [64]), (" 8, 16", [8, 16]), ("auto", None),
    (",".join(map(str, range(1, 101))), list(range(1, 101)))])
def test_the_flag(text, gears):
    assert parse(text) == gears


@pytest.mark.parametrize("text", ["", "a", "Auto", "32,", "1.5", "32 64", "0", "-1", "0,128", "9" * 5000,
                                  ",".join(map(str, range(1, 102)))], ids=lambda text: text[:20])
def test_what_the_flag_does_not_mean(text):
    with pytest.raises(UserError, match=r"--seq_len is '.*'; expected (auto, or lengths|1 to 100 lengths)"):
        parse(text)


def test_a_length_that_the_model_does_not_take():
    assert parse("8,512", longest=512) == [8, 512]
    with pytest.raises(UserError, match="--word_len is '8,513', the model takes 512"):
        parse("8,513", "--word_len", 512)


def test_auto_takes_as_many_as_asked_for():
    assert choose(np.arange(1, 50), count=1) == [49] and len(choose(np.arange(1, 50), count=4)) == 4
    with pytest.raises(UserError, match="0 gears were asked for"):
        choose(np.array([1]), count=0)


def test_measured_costs_choose_other_gears():
    """A chip on which everything up to 32 costs the same wants no gear below 32."""
    lengths = np.array([4] * 50 + [30] * 50 + [100])
    flat = {1: 1.0, 32: 1.0, 128: 4.0}
    assert choose(lengths, 3) == [4, 30, 100]
    assert choose(lengths, 3, flat) == [30, 100]
    assert interpolated(flat)(np.array([16, 80, 256])).tolist() == [1.0, 2.5, 8.0]


@pytest.mark.parametrize("measured", [{32: 1.0}, {32: 2.0, 64: 1.0}, {0: 1.0, 64: 2.0}, {32: 0.0, 64: 1.0}])
def test_costs_that_cannot_be(measured):
    with pytest.raises(UserError, match="rise with them"):
        interpolated(measured)


# --- Multiples, for a chip ------------------------------------------------------------------------------------------


@DEADLINE
@given(st.integers(1, 512), st.integers(2, 64), st.integers(1, 512), st.sets(st.integers(1, 512)))
def test_what_auto_chooses_among_on_a_chip(longest_sample, step, longest, measured):
    among = multiples(step, longest_sample, longest, {length: length for length in measured})
    assert among == sorted(set(among)) and among[-1] >= longest_sample
    odd = {length for length in among if length % step}
    assert all(length in measured and length % 16 == 0 for length in odd - {among[-1]})
    if longest_sample <= longest:
        assert among[-1] <= longest and (among[-1] % step == 0 or among[-1] == longest), "whole, but never above what the model takes"


@pytest.mark.parametrize("longest_sample, longest, among", [
    (14, 512, [32]), (64, 512, [32, 64]), (65, 512, [32, 64, 96]), (70, 80, [32, 64, 80]), (511, 512, list(range(32, 513, 32)))])
def test_multiples_by_hand(longest_sample, longest, among):
    assert multiples(32, longest_sample, longest, {}) == among


@pytest.mark.parametrize("measured, more", [
    ({32: 1.0, 48: 1.5, 64: 2.0}, [48]), ({32: 1.0, 48: 2.0, 64: 2.0}, []), ({32: 1.0, 40: 1.2, 64: 2.0}, []), ({32: 1.0, 48: 1.5}, [])],
    ids=["pays", "costs what the longer one costs", "no multiple of 16", "nothing longer was measured"])
def test_a_multiple_of_16_is_taken_where_it_was_measured_to_pay(measured, more):
    assert multiples(32, 90, 512, measured) == sorted([32, 64, 96, *more])


def test_auto_on_a_chip_chooses_what_can_fuse():
    lengths = np.array([14, 20, 25, 30, 33, 48, 66])
    assert choose(lengths, 8, longest=512) == sorted(lengths.tolist())
    assert choose(lengths, 8, step=32, longest=512) == [32, 64, 96]
    assert choose(lengths, 8, step=32, longest=80) == [32, 64, 80], "the model takes no more"
    assert choose(lengths, 1, step=32, longest=512) == [96]
    assert choose(lengths, 8, {32: 1, 48: 2, 64: 5, 96: 9}, step=32, longest=512) == [32, 48, 96]


def test_what_no_chip_can_be_asked():
    with pytest.raises(UserError, match="--multiple_of is 0; expected 1 and more"):
        choose(np.array([5]), 8, step=0, longest=512)
    with pytest.raises(UserError, match="a sample has 600 tokens, the model takes 512"):
        choose(np.array([600]), 8, step=32, longest=512)


# --- The flags


def flags(line, **options):
    parser = argparse.ArgumentParser()
    add_options(parser, "128", **options)
    return parser.parse_args(line.split())


def test_the_flags_and_their_defaults(tmp_path):
    (tmp_path / "costs.json").write_text(json.dumps({"32": 1, "64": 2}))
    assert vars(flags("")) == {"seq_len": [128], "gears": 8, "multiple_of": 1, "gear_cost": {}}
    given_all = flags(f"--word_len auto --gears 3 --multiple_of 32 --gear_cost {tmp_path}/costs.json", flag="--word_len", count=4)
    assert vars(given_all) == {"word_len": None, "gears": 3, "multiple_of": 32, "gear_cost": {32: 1.0, 64: 2.0}}
    with pytest.raises(UserError, match="--word_len is 'x'; expected auto"):
        flags("--word_len x", flag="--word_len")
