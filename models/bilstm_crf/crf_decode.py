"""From tag scores to entities: the CRF's best path for all sentences at once, and what it is worth.

Shapes: N sentences, L characters, T = 33 tags. NumPy alone: on the chip's host nothing else is needed.
"""
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import cluener
from cluener import TAG_ID, TAGS
from npukit.errors import UserError
from npukit.judge import ledger, metrics

START, STOP = TAG_ID["<START>"], TAG_ID["<STOP>"]


def viterbi(features: np.ndarray, lengths: np.ndarray, transitions: np.ndarray) -> list[np.ndarray]:
    """Return the best tags of each sentence, uint8 [length], decoded for all sentences at once.

    features     float32 [N, L, T]; what stands behind a sentence's length is not read
    lengths      int [N], 1..L
    transitions  float32 [T, T], [to, from]
    """
    count, longest, _ = features.shape
    scores = features.swapaxes(0, 1).copy()  # [L, N, T]; becomes that of the best path so far that ends in each tag
    scores[0] += transitions[:, START]
    for step in range(1, longest):
        paths = scores[step - 1].T[:, :, None] + transitions.T[:, None, :]  # [from, N, to]
        inside = (step < lengths)[:, None]
        scores[step] = np.where(inside, paths.max(0) + scores[step], scores[step - 1])  # behind the end a path stays
    path = np.empty((count, longest), dtype=np.uint8)
    path[:, -1] = (scores[-1] + transitions[STOP]).argmax(1)
    for step in range(longest - 1, 0, -1):
        came_from = (scores[step - 1] + transitions[path[:, step]]).argmax(1)
        path[:, step - 1] = np.where(step < lengths, came_from, path[:, step])
    return [row[:length] for row, length in zip(path, lengths)]


def predict(features: np.ndarray, lengths: np.ndarray, transitions: np.ndarray) -> list[list[str]]:
    """Return the names of each sentence's tags; arguments as for viterbi()."""
    return [[TAGS[tag] for tag in path] for path in viterbi(features, lengths, transitions)]


def score(predicted: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> tuple[dict, dict]:
    """Return what the tags of each sentence score against the true ones, as fractions, and {category: precision, recall, f1}.

    precision, recall, f1   of entities as the original counts them
    strict_f1               of whole spans alone, as seqeval's strict mode counts: the same where no I- stands behind a B- of
                            another category
    """
    def scored(entities: Callable) -> tuple[dict, dict]:
        return metrics.entity_scores(list(map(entities, truth)), list(map(entities, predicted)))

    overall, by_category = scored(cluener.entities_as_the_original_counts)
    strict, _ = scored(cluener.entities)
    return {**overall, "strict_f1": strict["f1"]}, by_category


def task(labels: Sequence[dict], lengths: np.ndarray, transitions: np.ndarray) -> ledger.Task:
    """Return what the features mean: one decision a character (the padding means nothing), judged by the entities."""
    def decisions(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.arange(features.shape[1]) < lengths[:, None]
        return features[inside], np.nonzero(inside)[0]

    truth = true_tags(labels)
    return ledger.Task(decisions, lambda features: score(predict(features, lengths, transitions), truth)[0])


def true_tags(labels: Sequence[dict]) -> list[list[str]]:
    """Return the tags of each sentence of label.txt."""
    return [label["tags"][0] for label in labels]


def read_labels(path: Path) -> list[dict]:
    """Return the objects of label.txt, in the order of the samples: data_index, tags [[...]], lens [n]."""
    if not path.is_file():
        raise UserError(f"{path} is not there; preprocess.py writes it")
    labels = []
    for index, line in enumerate(path.read_bytes().splitlines()):
        try:
            label = json.loads(line)
            (tags,), (length,) = label["tags"], label["lens"]
            whole = label["data_index"] == index and 0 < length == len(tags) and TAG_ID.keys() >= set(tags)
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{path}:{index + 1}: expected data_index {index}, tags [[one a character]], lens [their number]; "
                            "run preprocess again")
        labels.append(label)
    if not labels:
        raise UserError(f"{path} is empty; run preprocess again")
    return labels
