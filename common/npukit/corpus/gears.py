"""Lengths in gears: which lengths a graph is compiled for, so that short samples do not pay for long ones.

A sample runs in the smallest gear that holds it. The best k gears minimise the cost of a whole corpus; they are found
exactly, by dynamic programming over the corpus' length histogram.

On a chip not every length is worth a gear: ATC fuses attention at multiples of 32 alone (npukit.nets.fusions). There the
gears are chosen among these, see `multiples`.
"""
import argparse
import functools
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from npukit.errors import UserError
from npukit.files import read_json

MOST = 100  # gears that ATC takes on 310P
MEASURED_STEP = 16  # of lengths between the multiples, which a chip's own measurement may let in


def add_options(parser: argparse.ArgumentParser, default: str, flag: str = "--seq_len", count: int = 8,
                longest: float = math.inf) -> None:
    """Add the flags with which a preprocess.py is told its lengths, and how auto chooses them.

    default  the original's recipe; the flag's value is what parse returns
    count    of lengths that auto may choose, if not told
    longest  length that the model takes
    """
    parser.add_argument(flag, type=functools.partial(parse, flag=flag, longest=longest), default=default,
                        help="a length, several with commas, or auto")
    parser.add_argument("--gears", type=int, default=count, help="how many lengths auto may choose")
    parser.add_argument("--multiple_of", type=int, default=1,
                        help="auto chooses among multiples of this, not among the samples' lengths")
    parser.add_argument("--gear_cost", type=read_costs, default={}, metavar="FILE",
                        help='measured cost of a sample by length, {"32": 1.9, "64": 4.1}; tokens if not given')


def parse(text: str, flag: str = "--seq_len", longest: float = math.inf) -> list[int] | None:
    """Return the lengths, ascending, that a flag such as --seq_len names with commas in between; None for `auto`."""
    if text == "auto":
        return None
    try:
        gears = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise UserError(f"{flag} is {text!r}; expected auto, or lengths such as 128 or 32,64,128") from None
    if gears[0] < 1 or len(gears) > MOST:
        raise UserError(f"{flag} is {text!r}; expected 1 to {MOST} lengths of 1 and more")
    if gears[-1] > longest:
        raise UserError(f"{flag} is {text!r}, the model takes {longest}")
    return gears


def choose(lengths: np.ndarray, count: int, costs: dict[int, float] | None = None, step: int = 1,
           longest: float = math.inf) -> list[int]:
    """Return at most `count` lengths, ascending: the best ones for samples of these lengths, see `best`.

    costs    what a sample costs at some lengths, in any unit; in between along straight lines, beyond in proportion.
             Tokens if there are none
    step     only multiples of it are worth a gear, see `multiples`; 1 if any length is
    longest  length that the model takes
    """
    if step < 1:
        raise UserError(f"--multiple_of is {step}; expected 1 and more")
    if max(lengths) > longest:
        raise UserError(f"a sample has {max(lengths)} tokens, the model takes {longest}")
    among = multiples(step, max(lengths), longest, costs or {}) if step > 1 else None
    return best(lengths, count, **({"cost": interpolated(costs)} if costs else {}), among=among)


def multiples(step: int, longest_sample: int, longest: float, measured: dict[int, float]) -> list[int]:
    """Return the lengths that auto chooses among where only multiples of `step` are worth a gear, ascending.

    The last one holds the longest sample: the next multiple, but not above the longest that the model takes. A multiple
    of 16 is among them where its cost was measured and is below that of the next longer measured length. What was not
    measured has a cost between its neighbours', which are multiples of 32 and fused, so that it would seem cheaper than
    it is.
    """
    paying = [length for length, longer in itertools.pairwise(sorted(measured))
              if length % MEASURED_STEP == 0 and measured[length] < measured[longer]]
    top = max(longest_sample, min(-(-longest_sample // step) * step, longest))
    return sorted({*range(step, top, step), top, *(length for length in paying if length < top)})


def read_costs(path: str | Path) -> dict[int, float]:
    """Return a JSON file's costs by length; see of_costs."""
    try:
        return of_costs(read_json(Path(path)))
    except (AttributeError, TypeError, ValueError):
        raise UserError(f'{path} is not {{"length": cost, ...}}, nor that for batch sizes') from None


def of_costs(told: dict) -> dict[int, float]:
    """Return the costs by length of {length: cost}, or of what a chip has shown, {batch size: {length: cost}}.

    There those of the largest batch size with two lengths or more count, for that is where the time is spent; none if there is
    none. A length that costs more than a longer one there is no choice: the longer one is taken to cost as much.
    """
    if not any(isinstance(cost, dict) for cost in told.values()):
        return {int(length): float(cost) for length, cost in told.items()}
    batches = {int(batch): sorted((int(length), float(cost)) for length, cost in costs.items()) for batch, costs in told.items()}
    costs = next((batches[batch] for batch in sorted(batches, reverse=True) if len(batches[batch]) > 1), [])
    return dict(zip((length for length, _ in costs), itertools.accumulate((cost for _, cost in costs), max)))


def best(lengths: np.ndarray, count: int, cost: Callable[[np.ndarray], np.ndarray] = lambda length: length,
         among: Iterable[int] | None = None) -> list[int]:
    """Return at most `count` gears, ascending, whose total cost over the samples is the smallest there is.

    lengths  int [S], of the samples
    cost     of one sample at each length, ascending with it; tokens if not given, or measured
    among    the lengths that may be gears, one of them no shorter than the longest sample; the samples' own if not
             given, of which some are as good as any others. The largest gear is the shortest of them that holds the
             longest sample
    """
    if not 1 <= count <= MOST:
        raise UserError(f"{count} gears were asked for; ATC takes 1 to {MOST}")
    values = np.unique(lengths if among is None else list(among))
    values = values[:np.searchsorted(values, max(lengths)) + 1]
    times = np.bincount(np.searchsorted(values, lengths), minlength=len(values))  # samples for which values[i] is the shortest
    price = np.asarray(cost(values), dtype=np.float64)
    before = np.concatenate([[0], np.cumsum(times)])  # samples that some gear before values[i] holds
    total = price * before[1:]  # of values[:j + 1] in one gear, the last of them
    choice = []
    for _ in range(min(count, len(values)) - 1):
        # with one more gear: the samples up to values[i] as before, the rest up to values[j] in gear j
        split = total[:, None] + price[None, :] * (before[None, 1:] - before[1:, None])
        split[np.tril_indices(len(values))] = np.inf
        choice.append(np.where(split.min(0) < total, split.argmin(0), -1))
        total = np.minimum(total, split.min(0))
    gears, last = [], len(values) - 1
    for previous in reversed(choice):
        if previous[last] >= 0:
            gears.append(int(values[last]))
            last = previous[last]
    return sorted([*gears, int(values[last])])


def gear_of(lengths: np.ndarray, gears: list[int]) -> np.ndarray:
    """Return the index of the smallest gear that holds each sample; raise UserError for one that fits none."""
    if max(lengths, default=0) > gears[-1]:
        raise UserError(f"sample {int(np.argmax(lengths))} has {max(lengths)} tokens, the longest gear is {gears[-1]}; "
                        "it is never cut: choose longer --seq_len")
    return np.searchsorted(gears, lengths)


def interpolated(measured: dict[int, float]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the cost at any length from what was measured at some; raise UserError where it does not rise with the length."""
    known = np.array(sorted(measured.items()), dtype=np.float64)
    if len(known) < 2 or (known[:, 0] < 1).any() or (np.diff(known[:, 1]) < 0).any() or known[0, 1] <= 0:
        raise UserError(f"measured costs {measured}: expected two lengths or more, and costs above 0 that rise with them")
    longest, most = known[-1]
    return lambda length: np.where(length > longest, most * length / longest, np.interp(length, known[:, 0], known[:, 1]))
