"""Task metrics: pure functions from answers to numbers; no files, no models."""
import collections
from collections.abc import Hashable, Sequence

Entity = tuple[Hashable, int, int]  # category, first, last


def entity_scores(gold: Sequence[Sequence[Entity]], predicted: Sequence[Sequence[Entity]]) -> tuple[dict, dict]:
    """Return precision, recall and F1 of predicted entities, micro-averaged over all and for each gold category.

    gold, predicted  one sequence of (category, first, last) a sentence; a hit has all three right
    returns          fractions; (overall, {category: scores}), overall with its three counts beside;
                     0 where a denominator is 0, as conlleval does
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} sentences have gold entities, {len(predicted)} predicted ones")
    origin, found, right = (collections.Counter() for _ in range(3))
    for truth, answer in zip(gold, predicted):
        origin.update(category for category, _, _ in truth)
        found.update(category for category, _, _ in answer)
        right.update(category for category, _, _ in set(truth) & set(answer))
    overall = scores(origin.total(), found.total(), right.total())
    counts = {"gold": origin.total(), "predicted": found.total(), "right": right.total()}
    return {**overall, **counts}, {category: scores(origin[category], found[category], right[category])
                                   for category in origin}


def scores(gold: int, predicted: int, right: int) -> dict:
    """Return precision, recall and F1 as fractions from three counts."""
    precision = right / predicted if predicted else 0.0
    recall = right / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
