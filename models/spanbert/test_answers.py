"""Answers against a plain reading of run_squad.py's rules and an exhaustive search; known answers from logits at gold positions."""
import bisect
import functools
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import need
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import answers
import squad
from test_windows import plain_parts
from windows import Corpus, Recipe, Window

TINY = HERE.parents[1] / "data" / "tiny" / "spanbert"
RELAXED = settings(deadline=None, max_examples=150)


@functools.cache
def corpus(longest=512, stride=128):
    return Corpus(Recipe(TINY / "dev-v1.1.json", TINY, longest, stride))


# --- run_squad.py's rules once more: every start with every end, one by one


def plain_spans(window, start, end, n_best, longest):
    """Yield (sum, start, end, first, last) of a window's spans in the order in which they are tried."""
    firsts, lasts = (sorted(range(len(window.ids)), key=lambda place: -scores[place])[:n_best]
                     for scores in (start, end))
    stop = window.first + len(window.best)
    for first, last in itertools.product(firsts, lasts):
        if window.first <= first <= last < stop and window.best[first - window.first] and last - first < longest:
            yield float(start[first]) + float(end[last]), float(start[first]), float(end[last]), first, last


def plain_text(corpus, paragraph, window, first, last):
    """Spell a span with the paragraph's letters: each letter of the words, punctuation apart, is sought among the words' own."""
    word_of = corpus.word_of[paragraph][window.start:]
    words = corpus.words[paragraph][word_of[first - window.first]:word_of[last - window.first] + 1]
    text = " ".join(words)
    wanted = " ".join(corpus.vocabulary.piece[n]
                      for n in window.ids[first:last + 1]).replace(" ##", "").replace("##", "")
    parts = " ".join(plain_parts(text, corpus.recipe.do_lower_case))
    letters, places = ([(n, letter) for n, letter in enumerate(t) if letter != " "] for t in (parts, text))
    at = parts.find(wanted)
    if at < 0 or len(letters) != len(places):
        return text
    place = {n: places[number][0] for number, (n, _) in enumerate(letters)}
    return text[place[at]:place[at + len(wanted) - 1] + 1]


def plain_predict(corpus, logits, n_best=20, longest=30):
    best = {}
    for number, (question, paragraph) in enumerate(corpus.questions):
        spans = [(*span, window) for n, window in enumerate(corpus.windows) if window.question == number
                 for span in plain_spans(window, *logits[n].T, n_best, longest)]
        texts = {}
        for _, start, end, first, last, window in sorted(spans, key=lambda span: -span[0]):
            if len(texts) < n_best:
                texts.setdefault(plain_text(corpus, paragraph, window, first, last), (start, end))
        texts = texts or {"empty": (0.0, 0.0)}
        scores = [start + end for start, end in texts.values()]
        weights = [math.exp(score - max(scores)) for score in scores]
        best[question.id] = [(text, weight / sum(weights), *logit)
                             for (text, logit), weight in zip(texts.items(), weights)]
    return best


def compare(corpus, logits, **flags):
    found, plain = answers.predict(corpus, logits, **flags), plain_predict(corpus, logits, **flags)
    assert list(found) == list(plain)
    for name, entries in plain.items():
        assert [(e["text"], e["start_logit"], e["end_logit"]) for e in found[name]] == [(t, s, e)
                                                                                        for t, _, s, e in entries]
        assert [e["probability"] for e in found[name]] == pytest.approx([p for _, p, _, _ in entries])


def random_logits(corpus, seed, levels=None):
    """Return float32 [windows, L, 2]; with levels rounded to so few values that many are equal."""
    logits = np.random.default_rng(seed).normal(0, 3, (len(corpus.windows), corpus.lengths.max(), 2)).astype(np.float32)
    return logits if levels is None else np.round(logits * levels) / levels


@pytest.mark.parametrize("seed, levels, flags", [
    (1, None, {}), (2, None, {"n_best": 5, "longest": 4}), (3, 1, {}), (4, 0.2, {"n_best": 3}),
    (5, None, {"n_best": 1, "longest": 1}),
    (6, 0.1, {"n_best": 600})])
def test_answers_are_the_plain_ones(seed, levels, flags):
    for lengths in ((512, 128), (90, 16)):
        if flags.get("n_best", 0) < 100 or lengths == (90, 16):
            compare(corpus(*lengths), random_logits(corpus(*lengths), seed, levels), **flags)


def test_answers_of_the_released_corpus_are_the_plain_ones():
    some = Corpus(Recipe(need("squad/dev-v1.1.json"), need("tokenizers/bert-base-cased/vocab.txt").parent, 256, 64,
                         questions=80))
    assert len(some.windows) > 85
    compare(some, random_logits(some, 7))


# --- One window, all spans


@st.composite
def windows_and_logits(draw):
    """(a window of up to 12 pieces behind a short question, logits with equal ones among them)."""
    query, count = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    best = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    window = Window(0, list(range(query + 3 + count)), query + 2, 0, best)
    return window, draw(arrays.arrays(np.float32, (len(window.ids) + draw(st.integers(0, 3)), 2),
                                      elements=st.integers(-4, 4)))


@RELAXED
@given(windows_and_logits(), st.integers(1, 25), st.integers(1, 13))
def test_the_vectorised_spans_are_the_exhaustive_ones(case, n_best, longest):
    window, logits = case
    spans = answers.ranked([answers.possible(window, logits, 0, n_best, longest)])
    plain = sorted(plain_spans(window, *logits.T, n_best, longest), key=lambda span: -span[0])
    assert list(zip(spans.start + spans.end, spans.start, spans.end, spans.first, spans.last)) == plain
    if n_best >= len(window.ids):
        stop = window.first + len(window.best)
        every = [(first, last) for first in range(window.first, stop) if window.best[first - window.first]
                 for last in range(first, min(stop, first + longest))]
        assert sorted(zip(spans.first, spans.last)) == every
        if every:
            assert (spans.start + spans.end)[0] == max(logits[first, 0] + logits[last, 1] for first, last in every)


@RELAXED
@given(windows_and_logits(), st.integers(1, 6))
def test_what_stands_behind_a_window_decides_nothing(case, n_best):
    window, logits = case
    loud = np.concatenate([logits[:len(window.ids)], np.full((5, 2), 99, np.float32)])
    ours, theirs = (answers.possible(window, values, 0, n_best, 30) for values in (logits, loud))
    assert all(np.array_equal(a, b) for a, b in zip(vars(ours).values(), vars(theirs).values()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_answer(value):
    logits = random_logits(corpus(), 8)
    best = answers.predict(corpus(), logits)
    at = next(n for n, window in enumerate(corpus().windows) if window.question == 3)
    logits[at, :corpus().lengths[at] - 2] = value
    disturbed = answers.predict(corpus(), logits)
    name = corpus().id_of(at)
    assert all(np.isfinite([e["start_logit"], e["probability"]]).all() for e in disturbed[name])
    assert {**disturbed, name: None} == {**best, name: None}


# --- Realignment by hand


@pytest.mark.parametrize("wanted, text, parts, answer", [
    ("AFC", "Conference (AFC)", "Conference ( AFC )", "AFC"),
    ("Conference ( AFC", "Conference (AFC)", "Conference ( AFC )", "Conference (AFC"),
    ("steve smith", "Steve Smith's", "steve smith ' s", "Steve Smith"),
    ("Mc", "McDonald", "McDonald", "Mc"),
    ("cafe", "café,", "cafe ,", "café"),
    ("[UNK]", "Dubois'", "Dubois '", "Dubois'"),
    ("a b", "x a\u200b b", "x a b", "x a\u200b b"),
    ("1904", "1904.", "1904 .", "1904")])
def test_an_answer_is_spelled_as_the_paragraph_spells_it(wanted, text, parts, answer):
    assert answers.cut_out(wanted, text, parts) == answer


# --- Known answers: the network is replaced by logits that say where the answer stands


def gold(corpus, shift=0):
    """Return (logits that are 10 where each question's first answer begins and ends, the ids of questions whose answer has such a place).

    An answer has one where a piece begins with its first letter and one ends with its last, it is no longer than 30 pieces,
    and its words have no letter that the tokenizer drops.
    """
    logits, expressible = np.zeros((len(corpus.windows), corpus.lengths.max(), 2), np.float32), set()
    raw = {entry["id"]: entry["answers"][0] for paragraph in raw_paragraphs(corpus.recipe.dev_file)
           for entry in paragraph["qas"]}
    of_question = {}
    for n, window in enumerate(corpus.windows):
        of_question.setdefault(window.question, []).append(n)
    for number, (question, paragraph) in enumerate(corpus.questions):
        begins, ends = letters(corpus, paragraph)
        answer = raw[question.id]
        start, stop = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        first, last = bisect.bisect_right(begins, start) - 1, bisect.bisect_left(ends, stop)
        words = " ".join(corpus.words[paragraph][corpus.word_of[paragraph][first]:corpus.word_of[paragraph][last] + 1])
        kept = len("".join(plain_parts(words, lower=False))) == len(words.replace(" ", ""))
        if begins[first] == start and ends[last] == stop and last - first < 30 and kept:
            expressible.add(question.id)
        for n in of_question[number]:
            window = corpus.windows[n]
            for index, piece in enumerate((first + shift, last + shift)):
                if 0 <= piece - window.start < len(window.best):
                    logits[n, window.first + piece - window.start, index] = 10
    return logits, expressible


def raw_paragraphs(path):
    return [paragraph for article in json.loads(path.read_text())["data"] for paragraph in article["paragraphs"]]


@functools.lru_cache(maxsize=1)
def letters(corpus, paragraph):
    """Return where each piece of a paragraph begins and ends in its context; [UNK] is its whole part."""
    begins, ends, at, context = [], [], 0, corpus.paragraphs[paragraph].context
    for word in corpus.words[paragraph]:
        at = context.index(word, at)
        for begin, end in corpus.vocabulary.tokenizer.encode(word, add_special_tokens=False).offsets:
            begins.append(at + begin)
            ends.append(at + end)
        at += len(word)
    return begins, ends


def test_known_answers_of_the_tiny_corpus():
    logits, expressible = gold(corpus())
    assert len(expressible) == 24
    assert answers.fractions(corpus(), answers.predict(corpus(), logits)) == {"exact_match": 1, "f1": 1}
    shifted = answers.fractions(corpus(), answers.predict(corpus(), gold(corpus(), shift=1)[0]))
    assert shifted["exact_match"] < 0.3 < shifted["f1"] < 0.8


def test_known_answers_of_the_released_corpus():
    whole = Corpus(Recipe(need("squad/dev-v1.1.json"), need("tokenizers/bert-base-cased/vocab.txt").parent))
    logits, expressible = gold(whole)
    best = {name: found[0]["text"] for name, found in answers.predict(whole, logits).items()}
    assert len(expressible) == 10524
    for question, _ in whole.questions:
        assert question.id not in expressible or squad.normalized(best[question.id]) == squad.normalized(question.answers[0])
    assert squad.score(whole.paragraphs, best) == pytest.approx({"exact_match": 99.640, "f1": 99.703}, abs=0.001)
    shifted = {name: found[0]["text"] for name, found in answers.predict(whole, gold(whole, shift=1)[0]).items()}
    assert squad.score(whole.paragraphs, shifted) == pytest.approx({"exact_match": 8.486, "f1": 51.210}, abs=0.001)


def uncased(folder, vocabulary, more="", **said):
    """Make a folder an uncased tokenizer's, with more pieces: its tokenizer_config.json says so, no flag does."""
    (folder / "vocab.txt").write_text(vocabulary.read_text(encoding="utf-8") + more, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, **said}))
    return folder


@pytest.mark.parametrize("said", [{}, {"strip_accents": False}], ids=["accents stripped", "accents kept"])
def test_an_uncased_tokenizers_answers_keep_the_case_and_accents_of_the_text(tmp_path, said):
    text = (TINY / "dev-v1.1.json").read_text().replace("Anna Brandt", "\u00c1nna BR\u00c4ndt")
    (tmp_path / "dev.json").write_text(text)
    folder = uncased(tmp_path, TINY / "vocab.txt", "\u00e1\n##\u00e1\n\u00e4\n##\u00e4\n", **said)
    made = Corpus(Recipe(tmp_path / "dev.json", folder))
    logits, expressible = gold(made)
    best = {name: found[0]["text"] for name, found in answers.predict(made, logits).items()}
    assert len(expressible) == len(made.questions) == 24
    assert best == {question.id: question.answers[0] for question, _ in made.questions}
    assert best["tiny-0001"] == "\u00c1nna BR\u00c4ndt"
    assert made.vocabulary.parts("BR\u00c4ndt") == ("br\u00e4ndt" if said else "brandt")


def test_an_uncased_tokenizers_answers_to_the_released_corpus(tmp_path):
    folder = uncased(tmp_path, need("tokenizers/bert-base-cased/vocab.txt"))
    some = Corpus(Recipe(need("squad/dev-v1.1.json"), folder, questions=1000))
    logits, expressible = gold(some)
    best = {name: found[0]["text"] for name, found in answers.predict(some, logits).items()}
    pairs = [(best[q.id].split(), q.answers[0].split()) for q, _ in some.questions if q.id in expressible]
    assert len(expressible) > 980 and not [pair for pair in pairs if pair[0] != pair[1]]
