"""From tag scores to entities: the CRF's best path for all sentences at once, and what it is worth.

Shapes: N sentences, L characters, T = 33 tags. NumPy alone: on the chip's host nothing else is needed.
"""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cluener
from cluener import TAG_ID, TAGS
from npukit import metrics
from npukit.errors import UserError

START, STOP = TAG_ID["<START>"], TAG_ID["<STOP>"]


def viterbi(features: np.ndarray, lengths: np.ndarray, transitions: np.ndarray) -> list[np.ndarray]:
    """Return the best tags of each sentence, uint8 [length], decoded for all sentences at once.

    features     float32 [N, L, T]; what stands behind a sentence's length is not read
    lengths      int [N], 1..L
    transitions  float32 [T, T], [to, from]
    """
    count, longest, tags = features.shape
    scores = features[:, 0] + transitions[:, START]  # [N, T], of the best path that ends in each tag
    came_from = np.empty((longest, count, tags), dtype=np.uint8)
    for step in range(1, longest):
        paths = scores[:, None, :] + transitions  # [N, to, from]
        inside = (step < lengths)[:, None]
        best = paths.argmax(2)
        came_from[step] = np.where(inside, best, np.arange(tags))  # behind the end a path stays where it is
        reached = np.take_along_axis(paths, best[..., None], 2)[..., 0] + features[:, step]
        scores = np.where(inside, reached, scores)
    scores = scores + transitions[STOP]
    scores[:, [START, STOP]] = -np.inf
    path = np.empty((count, longest), dtype=np.uint8)
    path[:, -1] = scores.argmax(1)
    for step in range(longest - 1, 0, -1):
        path[:, step - 1] = came_from[step, np.arange(count), path[:, step]]
    return [row[:length] for row, length in zip(path, lengths)]


def predict(features: np.ndarray, lengths: np.ndarray, transitions: np.ndarray) -> list[list[metrics.Entity]]:
    """Return the entities (category, first, last) of each sentence; arguments as for viterbi()."""
    return [cluener.entities([TAGS[tag] for tag in path]) for path in viterbi(features, lengths, transitions)]


def score(predicted: Sequence, labels: Sequence[dict]) -> tuple[dict, dict]:
    """Return (overall, by category) precision, recall and F1 against the tags of label.txt."""
    return metrics.entity_scores([cluener.entities(label["tags"][0]) for label in labels], predicted)


def read_labels(path: Path) -> list[dict]:
    """Return the objects of label.txt, in the order of the samples: data_index, tags [[...]], lens [n]."""
    try:
        labels = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path} is not there; preprocess.py writes it") from None
    if [label["data_index"] for label in labels] != list(range(len(labels))):
        raise UserError(f"{path}: the samples are not numbered 0 to {len(labels) - 1}; run preprocess again")
    return labels
