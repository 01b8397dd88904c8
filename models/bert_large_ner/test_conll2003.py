"""The reader of CoNLL-2003: every form it is released in, every line that is not of it, tags against seqeval and conlleval."""
import random
import sys
from pathlib import Path

import corpora
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import conll2003
from conll2003 import TAGS, TYPES, counts, entities, iob2_of, read
from npukit.errors import BadSample, UserError
from npuops.assets import manifest as assets

TINY = HERE.parents[1] / "data" / "tiny" / "bert_large_ner" / "test.txt"
PLACES = [place / "conll2003/test.txt" for place in (HERE.parents[1] / "data", corpora.PLACE) if place]
RELEASED = next(filter(Path.exists, PLACES), None)
DOCUMENT = "-DOCSTART- -X- -X- O"


@pytest.fixture
def corpus(tmp_path):
    """Return a function that writes text or bytes to test.txt and returns its path."""
    def write(content):
        (tmp_path / "test.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "test.txt"
    return write


def lines(*tags):
    """Return a sentence's lines with these tags."""
    return [f"word{n} NN B-NP {tag}" for n, tag in enumerate(tags)]


def tags(path):
    return [sentence.tags for sentence in read(path)]


# --- What is read


def test_the_format_as_released(corpus):
    found = read(corpus(f"{DOCUMENT}\n\nAda NNP B-NP B-PER\nLovelace NNP I-NP I-PER\n. . O O\n\nDublin NNP B-NP B-LOC\n\n"
                        f"{DOCUMENT}\n\nOslo NNP B-NP B-LOC\n\n"))
    assert [s.words for s in found] == [("Ada", "Lovelace", "."), ("Dublin",), ("Oslo",)]
    assert [s.tags for s in found] == [("B-PER", "I-PER", "O"), ("B-LOC",), ("B-LOC",)]
    assert [s.lines for s in found] == [(3, 4, 5), (7,), (11,)] and [s.document for s in found] == [1, 1, 2]
    assert counts(found) == {"documents": 2, "sentences": 3, "tokens": 5, "entities": 3}


BODY = [DOCUMENT, "", *lines("B-PER", "I-PER", "O"), "", *lines("O", "B-LOC"), ""]
FORMS = {
    "LF": "\n".join(BODY) + "\n", "CR LF": "\r\n".join(BODY) + "\r\n",
    "no last blank line": "\n".join(BODY[:-1]) + "\n",
    "no last line end": "\n".join(BODY[:-1]), "tabs": "\n".join(BODY).replace(" ", "\t") + "\n",
    "several blanks": "\n".join(BODY).replace(" ", " \t ") + "\n",
    "blanks at the ends": "\n".join(f" {line} " for line in BODY) + "\n",
    "several blank lines": "\n\n\n".join(["\n".join(BODY[:5]), "\n".join(BODY[6:])]),
    "no documents": "\n".join(BODY[2:]) + "\n",
    "documents as in eng.testb": "\n".join(["-DOCSTART- -X- O O", *BODY[1:]]),
    "a byte order mark": b"\xef\xbb\xbf" + "\n".join(BODY).encode(),
    "no blank line behind a document": "\n".join([BODY[0], *BODY[2:]])}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_every_form_reads_the_same(corpus, content):
    assert tags(corpus(content)) == [("B-PER", "I-PER", "O"), ("O", "B-LOC")]


def test_a_blank_that_is_no_separator_is_part_of_a_word(corpus):
    assert read(corpus("10\u00a0000 CD B-NP O\n"))[0].words == ("10\u00a0000",)


def test_the_tiny_corpus():
    assert counts(read(TINY)) == {"documents": 4, "sentences": 23, "tokens": 508, "entities": 96}
    assert {tag for sentence in read(TINY) for tag in sentence.tags} == set(TAGS)


@pytest.mark.skipif(RELEASED is None,
                    reason="CoNLL-2003 may not be shipped; the user's copy is not at data/conll2003/test.txt")
def test_the_released_test_split():
    assert counts(read(RELEASED)) == {"documents": 231, "sentences": 3453, "tokens": 46435, "entities": 5648}


# --- What is refused

BAD = {  # content: the line and what its answer says
    "three columns": ("a NN O\n", 1, "3 columns, expected 4"),
    "five columns": (f"{DOCUMENT}\n\na NN B-NP O O\n", 3, "5 columns, expected 4"),
    "two columns, as other corpora": ("a O\n", 1, "2 columns, expected 4"),
    "commas": ("a,NN,B-NP,O\n", 1, "1 columns, expected 4"),
    "a short document line": ("-DOCSTART-\n", 1, "1 columns, expected 4"),
    "an unknown type": ("a NN B-NP B-DATE\n", 1, "the tag 'B-DATE' is not one of O, B-MISC"),
    "another scheme": ("a NN B-NP O\n\nb NN B-NP S-PER\n", 3, "the tag 'S-PER' is not one of"),
    "a small letter": ("a NN B-NP b-PER\n", 1, "the tag 'b-PER'"),
    "I- after O in IOB2": ("\n".join([*lines("B-PER", "O"), *lines("I-LOC")]), 3,
                           "follows nothing of its type, but line 1 begins"),
    "I- at a sentence's start in IOB2": ("\n".join([*lines("B-PER"), "", *lines("I-PER")]), 3,
                                         "follows nothing of its type, but line 1"),
    "I- after another type in IOB2": ("\n".join([*lines("O", "B-PER", "I-ORG")]), 3,
                                      "follows nothing of its type, but line 2"),
    "latin-1": ("caf\xe9 NN B-NP O\n".encode("latin-1"), 1, "byte 4 is not UTF-8"),
    "utf-16": ("a NN B-NP O\n".encode("utf-16"), 1, "byte 1 is not UTF-8"),
    "cut within a character": (b"a NN B-NP O\n\xe2\x82", 2, "byte 1 is not UTF-8")}


@pytest.mark.parametrize("content, line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_answered_with_file_and_line(corpus, content, line, reason):
    path = corpus(content)
    with pytest.raises(BadSample) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ") and reason in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n", f"{DOCUMENT}\n\n"])
def test_a_file_without_a_sentence(corpus, content):
    with pytest.raises(UserError, match="holds no sentence"):
        read(corpus(content))


@pytest.mark.parametrize("content", ["<!DOCTYPE html>\n<html lang=en> <head> O\n", "\ufeff \n<HTML>"])
def test_a_web_page_is_no_corpus(corpus, content):
    with pytest.raises(UserError, match=r"test\.txt is a web page, not a file of its kind"):
        read(corpus(content))


def test_the_digest_is_the_manifest_s():
    [asset] = [asset for asset in assets.manifest(HERE / "assets.toml") if asset.to == "conll2003/test.txt"]
    assert (asset.sha256, asset.size) == (conll2003.RELEASED, 748095)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="may not be shipped: `make MODEL=bert_large_ner fetch` says how"):
        read(tmp_path / "test.txt")


@pytest.mark.parametrize("names, passes", [
    (dict(enumerate(TAGS)), True), ({n: f"LABEL_{n}" for n in range(9)}, True), (dict(enumerate(sorted(TAGS))), False)])
def test_weights_that_number_the_tags_otherwise(names, passes):
    if passes:
        conll2003.require_tags(names, Path("net"))
    else:
        with pytest.raises(UserError, match=r"net/config\.json numbers the tags B-LOC, .*; expected O, B-MISC"):
            conll2003.require_tags(names, Path("net"))


# --- IOB1, IOB2, entities


@st.composite
def spans(draw):
    """(length, entities (type, first, last) in order) of a sentence; neighbours may touch and share a type."""
    place, found = 0, []
    for _ in range(draw(st.integers(0, 4))):
        first = place + draw(st.integers(0, 2))
        last = first + draw(st.integers(0, 2))
        found.append((draw(st.sampled_from(TYPES)), first, last))
        place = last + 1
    return place + draw(st.integers(0 if place else 1, 2)), found


def spelled(length, found, scheme):
    """Spell entities as tags, by the definition of the scheme: in IOB1 B- only behind an entity of the same type."""
    made = ["O"] * length
    for number, (kind, first, last) in enumerate(found):
        touches = number and found[number - 1][0] == kind and found[number - 1][2] == first - 1
        made[first:last + 1] = [f"I-{kind}"] * (last + 1 - first)
        if scheme == "IOB2" or touches:
            made[first] = f"B-{kind}"
    return made


@given(st.lists(spans(), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_both_schemes_read_the_same(corpus, sentences):
    wanted = [tuple(spelled(length, found, "IOB2")) for length, found in sentences]
    for scheme in ("IOB1", "IOB2"):
        text = "\n".join("\n".join([*lines(*spelled(length, found, scheme)), ""]) for length, found in sentences)
        assert tags(corpus(text)) == wanted


@given(spans())
def test_entities_are_what_was_spelled(case):
    length, found = case
    assert entities(spelled(length, found, "IOB2")) == found == entities(iob2_of(tuple(spelled(length, found, "IOB1"))))


def conlleval(sentence):
    """Return the chunks that conlleval.pl counts, by its own two rules for where one starts and ends."""
    def parts(tag):
        return ("O", "") if tag == "O" else tuple(tag.split("-"))

    found, start = [], None
    for place, (before, tag) in enumerate(zip(["O", *sentence], [*sentence, "O"])):
        (p1, t1), (p2, t2) = parts(before), parts(tag)
        ends = p1 in "BI" and (p2 in "BO" or t1 != t2)
        starts = p2 == "B" or (p2 == "I" and (p1 == "O" or t1 != t2))
        if start is not None and ends:
            found.append((t1, start, place - 1))
            start = None
        if starts:
            start = place
    return found


ANY_TAGS = st.lists(st.sampled_from(TAGS), min_size=1, max_size=12)


@given(ANY_TAGS)
def test_entities_of_any_tags_are_conllevals_when_read_as_it_reads(sentence):
    assert entities(iob2_of(tuple(sentence))) == conlleval(sentence) == get_entities(sentence)


@given(ANY_TAGS)
def test_strictly_read_they_begin_with_b(sentence):
    strict = entities(sentence)
    assert set(strict) <= {(kind, first, last)
                           for kind, first, last in conlleval(sentence) if sentence[first][0] == "B"}
    if all(tag[0] != "I" or before[2:] == tag[2:] for before, tag in zip(["O", *sentence], sentence)):
        assert strict == conlleval(sentence)


def test_the_generated_corpus_has_the_lengths_of_the_real_one(tmp_path, monkeypatch):
    import scripts

    from npukit.corpus import wordpiece

    bench_corpus = scripts.load(HERE / "bench_corpus.py")
    monkeypatch.setattr(sys, "argv", ["bench_corpus.py", "--sentences", "4000", "--output", str(tmp_path / "c.txt")])
    bench_corpus.main()
    tokenizer = wordpiece.load(corpora.need("tokenizers/bert-large-NER/vocab.txt").parent)
    found = tokenizer.encode_batch([list(s.words) for s in read(tmp_path / "c.txt")], is_pretokenized=True)
    lengths = sorted(len(made.ids) for made in found)
    assert sum(lengths) / len(lengths) == pytest.approx(20, abs=0.3) and lengths[len(lengths) * 95 // 100] in (44, 45,
                                                                                                               46)
    assert "[UNK]" not in {piece for made in random.Random(0).sample(found, 200) for piece in made.tokens}
