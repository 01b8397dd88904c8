"""Entity scores against seqeval, an implementation of others."""
import itertools
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOBES

from npukit.judge.metrics import entity_scores

CATEGORIES = ["name", "movie", "scene"]
LENGTH = 12


@st.composite
def sentences(draw):
    """One sentence's entities: disjoint spans within LENGTH characters, in order."""
    ends = sorted(draw(st.sets(st.integers(0, LENGTH), max_size=8)))
    return [(draw(st.sampled_from(CATEGORIES)), first, after - 1)
            for first, after in itertools.pairwise(ends) if draw(st.booleans())]


CORPUS = st.lists(st.tuples(sentences(), sentences()), min_size=1, max_size=6)


def iobes(entities):
    """Spell entities as IOBES tags."""
    tags = ["O"] * LENGTH
    for category, first, last in entities:
        tags[first:last + 1] = [f"I-{category}"] * (last - first + 1)
        tags[first], tags[last] = f"B-{category}", f"E-{category}"
        if first == last:
            tags[first] = f"S-{category}"
    return tags


@given(CORPUS)
def test_scores_equal_seqevals(corpus):
    gold, predicted = zip(*corpus)
    overall, by_category = entity_scores(gold, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined figures, 0 here and there
        try:
            theirs = classification_report([iobes(s) for s in gold], [iobes(s) for s in predicted], mode="strict",
                                           scheme=IOBES,
                                           output_dict=True, zero_division=0)
        except ValueError:  # seqeval has no report of no entities
            theirs = {"micro avg": {"precision": 0, "recall": 0, "f1-score": 0, "support": 0}}
    for ours, name in [(overall, "micro avg"), *((by_category[category], category) for category in by_category)]:
        expected = theirs[name]
        assert (ours["precision"], ours["recall"], ours["f1"]) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"]), abs=1e-12)
    assert overall["gold"] == theirs["micro avg"]["support"]
    assert list(by_category) == list(dict.fromkeys(category for sentence in gold for category, _, _ in sentence))


@pytest.mark.parametrize("gold, predicted, expected", [
    ([[]], [[]], (0, 0, 0)), ([[("a", 0, 1)]], [[]], (0, 0, 0)), ([[]], [[("a", 0, 1)]], (0, 0, 0)),
    ([[("a", 0, 1)]], [[("a", 0, 1)]], (1, 1, 1)), ([[("a", 0, 1)]], [[("b", 0, 1)]], (0, 0, 0)),
    ([[("a", 0, 1)]], [[("a", 0, 2)]], (0, 0, 0)), ([[("a", 0, 1)], []], [[], [("a", 0, 1)]], (0, 0, 0)),
    ([[("a", 0, 1), ("b", 3, 3)]], [[("a", 0, 1)]], (1, 0.5, 2 / 3))])
def test_by_hand(gold, predicted, expected):
    overall, _ = entity_scores(gold, predicted)
    assert (overall["precision"], overall["recall"], overall["f1"]) == pytest.approx(expected)


def test_another_number_of_sentences_is_refused():
    with pytest.raises(ValueError, match="2 sentences have gold entities, 1 predicted"):
        entity_scores([[], []], [[]])
