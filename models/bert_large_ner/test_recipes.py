"""Both recipes against transformers' tokenizer, windows as a property, and the scores against seqeval and scikit-learn."""
import itertools
import json
import math
import sys
from pathlib import Path

import corpora
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score
from transformers import AutoTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import recipes
from conll2003 import TAG_ID, TAGS, TYPES, Sentence, read
from npukit.corpus import wordpiece
from npukit.errors import BadSample, UserError

TINY = HERE.parents[1] / "data" / "tiny" / "bert_large_ner"
FILE = Path("test.txt")
QUICK = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module", params=["tiny", "uncased", "accents kept", "released"])
def tokenizers(request, tmp_path_factory):
    """(ours, transformers') of one vocabulary."""
    folder = corpora.need("tokenizers/bert-large-NER/vocab.txt").parent if request.param == "released" else TINY
    if request.param in ("uncased", "accents kept"):
        folder = tmp_path_factory.mktemp("uncased")
        said = {"do_lower_case": True, "strip_accents": False if request.param == "accents kept" else None}
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
        for name in ("vocab.txt", "config.json"):
            (folder / name).write_bytes((TINY / name).read_bytes())
    return wordpiece.load(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizer():
    return wordpiece.load(TINY)


def sentence(*words, tags=None):
    return Sentence(tuple(range(1, len(words) + 1)), words, tuple(tags or ["O"] * len(words)), 1)


WORDS = st.text(st.sampled_from("abzABZé09.-,'$%/\u00e5\u4e2d"), min_size=1, max_size=8)


@QUICK
@given(words=st.lists(WORDS, min_size=1, max_size=12))
def test_pieces_and_alignment_are_transformers(tokenizers, words):
    ours, theirs = tokenizers
    made = recipes.encode(FILE, [sentence(*words)], ours, "npukit", 512)
    wanted = theirs(words, is_split_into_words=True)
    assert made.rows == [wanted["input_ids"]]
    firsts = [wanted.word_ids().index(word) for word in range(len(words))]
    assert made.words.tolist() == [[0, 0, first, 0] for first in firsts]


def test_the_tiny_corpus_is_aligned(tokenizer):
    sentences, theirs = read(TINY / "test.txt"), AutoTokenizer.from_pretrained(TINY)
    made = recipes.encode(FILE, sentences, tokenizer, "npukit", 512)
    places = {(s, w): tuple(row) for s, sent in enumerate(sentences)
              for w, row in enumerate(made.words[made.words[:, 0] == s]) if len(sent.words) > w}
    for number, one in enumerate(sentences):
        ids, words = (lambda out: (out["input_ids"], out.word_ids()))(theirs(list(one.words), is_split_into_words=True,
                                                                             truncation=False))
        for word, tag in enumerate(one.tags):
            _, sample, place, true = places[number, word]
            assert made.rows[sample][place] == ids[words.index(word)] and TAGS[true] == tag
    assert max(map(len, made.rows)) == 512 and sum(len(row) == 512
                                                   for row in made.rows) == 3, "the long sentence has three windows"


def test_case_is_kept(tokenizer):
    small, capital = (recipes.encode(FILE, [sentence(word)], tokenizer, "npukit", 512).rows[0]
                      for word in ("oslo", "OSLO"))
    assert small != capital and tokenizer.token_to_id("[UNK]") not in (*small, *capital)


@pytest.mark.parametrize("word", ["\u200d", "\u0007", "\ufffd"])
def test_a_word_of_which_nothing_is_kept_is_refused_with_its_line(tokenizer, word):
    with pytest.raises(BadSample, match=r"test\.txt:2: the tokenizer keeps nothing of the word"):
        recipes.encode(FILE, [sentence("a", word)], tokenizer, "npukit", 512)


# --- Windows


@given(st.integers(0, 60), st.integers(1, 12))
def test_windows_cover_everything_and_cut_nothing(count, limit):
    found = recipes.windows(count, limit)
    assert {piece for start, stop in found for piece in range(start, stop)} == set(range(count))
    assert all(0 <= start and stop - start <= limit for start, stop in found) and found == sorted(found)
    assert len(found) == 1 if count <= limit else all(stop - start == limit for start, stop in found)


@QUICK
@given(st.lists(st.sampled_from(["a", "abc", "Osterhaven", "7:12.40", "."]), min_size=1, max_size=60),
       st.integers(3, 24))
def test_every_word_is_read_from_its_first_piece_with_the_most_around_it(words, longest):
    tokenizer = wordpiece.load(TINY)
    made = recipes.encode(FILE, [sentence(*words), sentence("a")], tokenizer, "npukit", longest)
    assert max(map(len, made.rows)) <= longest and made.words[-1].tolist() == [1, len(made.rows) - 1, 1, 0]
    assert (np.diff(made.words[:, 1]) >= 0).all(), "samples ascend"
    pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in words]
    whole, firsts = [*itertools.chain(*pieces)], np.cumsum([0, *map(len, pieces)])[:-1]
    spans = recipes.windows(len(whole), longest - 2)
    assert [row[1:-1] for row in made.rows[:-1]] == [whole[start:stop] for start, stop in spans]
    for first, (_, sample, place, _) in zip(firsts, made.words):
        start, stop = spans[sample]
        assert start + place - 1 == first
        around = min(first - start if start else math.inf, stop - 1 - first if stop < len(whole) else math.inf)
        assert around >= (longest - 2) // 4, "a quarter of a window on either side"


# --- The original's recipe


def original(words, tokenizer):
    """Return the ids as bin_create.py makes them."""
    words = [word.lower() if word.isupper() else word for word in words]
    return tokenizer.convert_tokens_to_ids(words)


@QUICK
@given(words=st.lists(st.one_of(WORDS, st.sampled_from(["the", "THE", "Oslo", "U.S.", "IN", "A", "1996"])), min_size=1,
                      max_size=12))
def test_the_originals_ids(tokenizers, words):
    ours, theirs = tokenizers
    made = recipes.encode(FILE, [sentence(*words)], ours, "original", 512)
    assert made.rows == [original(words, theirs)] and made.words[:, 2].tolist() == list(range(len(words)))


def test_what_the_originals_recipe_loses(tokenizer):
    unknown = tokenizer.token_to_id("[UNK]")
    rows = recipes.encode(FILE, read(TINY / "test.txt"), tokenizer, "original", 512).rows
    assert not {tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")} & {piece for row in rows for piece in row}
    assert sum(row.count(unknown) for row in rows) > 100
    assert recipes.encode(FILE, [sentence("AT")], tokenizer, "original", 512).rows == [[tokenizer.token_to_id("at")]]


def test_the_originals_recipe_has_no_answer_to_a_long_sentence(tokenizer):
    with pytest.raises(BadSample,
                       match=r"test\.txt:1: the sentence has 9 words; .* no answer to more than 8, and nothing is cut"):
        recipes.encode(FILE, [sentence(*"abcdefghi")], tokenizer, "original", 8)


@pytest.mark.parametrize("longest", [1, 2])
def test_a_length_without_room(tokenizer, longest):
    with pytest.raises(UserError, match="holds no word piece between"):
        recipes.encode(FILE, [sentence("a")], tokenizer, "npukit", longest)


# --- Scores


@st.composite
def answered(draw):
    """(true tags, predicted tags), sentences of any tags; the true ones are IOB2."""
    tag = st.sampled_from(["O", *(f"B-{kind}" for kind in TYPES), "I"])
    truth = draw(st.lists(st.lists(tag, min_size=1, max_size=8), min_size=1, max_size=4))
    for tags in truth:
        for place, tag in enumerate(tags):
            if tag == "I":
                tags[place] = f"I-{tags[place - 1][2:]}" if place and tags[place - 1] != "O" else "O"
    return truth, [draw(st.lists(st.sampled_from(TAGS), min_size=len(tags), max_size=len(tags))) for tags in truth]


@pytest.mark.filterwarnings("ignore")  # seqeval's, of classes that nobody predicted
@QUICK
@given(answered())
def test_scores_are_seqevals(case):
    truth, answer = case
    words = np.array([(n, n, p, TAG_ID[tag]) for n, tags in enumerate(truth) for p, tag in enumerate(tags)])
    overall, by_type = recipes.score(words, np.array([TAG_ID[tag] for tags in answer for tag in tags]))
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert overall["precision"] == pytest.approx(precision_score(truth, answer, **strict))
    assert overall["recall"] == pytest.approx(recall_score(truth, answer, **strict))
    assert overall["f1"] == pytest.approx(f1_score(truth, answer, **strict))
    assert overall["conlleval_f1"] == pytest.approx(f1_score(truth, answer,
                                                             zero_division=0)), "seqeval's default is conlleval's way"
    flat, answers = ([*itertools.chain(*tags)] for tags in case)
    assert overall["token_accuracy"] == pytest.approx(accuracy_score(flat, answers))
    assert overall["all_o_accuracy"] == pytest.approx(accuracy_score(flat, ["O"] * len(flat)))
    if by_type:
        theirs = classification_report(truth, answer, output_dict=True, **strict)
        for kind, scores in by_type.items():
            assert scores["f1"] == pytest.approx(theirs[kind]["f1-score"]) and scores["recall"] == pytest.approx(theirs[kind]["recall"])


def test_tags_are_read_from_their_places():
    words = np.array([[0, 0, 1, 3], [0, 1, 2, 0], [1, 2, 1, 7]])
    logits = np.zeros((3, 4, 9), np.float32)
    logits[0, 1, 3] = logits[1, 2, 4] = logits[2, 1, 7] = 1
    assert recipes.predicted(logits, words).tolist() == [3, 4, 7]
    assert recipes.by_sentence(words, recipes.predicted(logits, words)) == [["B-PER", "I-PER"], ["B-LOC"]]
    decisions, sample = recipes.task_of(words).decisions(logits)
    assert decisions.shape == (3, 9) and sample.tolist() == [0, 1, 2]


@pytest.mark.parametrize("array", [np.zeros((2, 3), int), np.zeros((0, 4), int), np.zeros(4, int), np.full((1, 4), 9),
                                   np.full((1, 4), -1)])
def test_words_that_are_none(tmp_path, array):
    np.save(tmp_path / "words.npy", array)
    with pytest.raises(UserError, match=r"words\.npy does not hold words with a tag each"):
        recipes.read_words(tmp_path / "words.npy")
