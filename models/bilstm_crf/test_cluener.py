"""The corpus: every line is read as it stands or answered with its place and a reason; tags, entities, vocabulary."""
import collections
import itertools
import json
import sys
from pathlib import Path

import pytest
from corpora import need
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOBES, Entities

sys.path.insert(0, str(Path(__file__).parent))
import cluener
from cluener import CATEGORIES, SPECIAL, UNK, Sentence, Vocabulary, entities, entities_as_the_original_counts, read, tags_of
from npukit.errors import BadSample, UserError

MAX_LENGTH = 50
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
GOOD = '{"text": "叶老桂在北京", "label": {"name": {"叶老桂": [[0, 2]]}, "address": {"北京": [[4, 5]]}}}'


def labelled(text, label):
    return json.dumps({"text": text, "label": label}, ensure_ascii=False)


MALFORMED = {  # a line: what its answer says
    "": "not a JSON object: Expecting value",
    "   ": "not a JSON object: Expecting value",
    "{": "not a JSON object: Expecting property name enclosed in double quotes at column 2",
    GOOD[:-1]: "not a JSON object: Expecting ',' delimiter",
    f"{GOOD} {GOOD}": "not a JSON object: Extra data",
    f"[{GOOD}]": 'no key "text"',
    f"\ufeff{GOOD}": "not a JSON object: Unexpected UTF-8 BOM",
    GOOD.replace('"', "'"): "not a JSON object",
    '{"text": "a\tb", "label": {}}': "not a JSON object: Invalid control character",
    "[" * 100_000: "not a JSON object of this corpus: brackets within brackets",
    "null": 'no key "text"',
    "7": 'no key "text"',
    '"text"': 'no key "text"',
    '{"label": {}}': 'no key "text"',
    '{"text": "a"}': 'no key "label"',
    '{"Text": "a", "label": {}}': 'no key "text"',
    '{"text": "", "label": {}}': "the text is empty",
    '{"text": null, "label": {}}': "the text is NoneType",
    '{"text": NaN, "label": {}}': "the text is float",
    '{"text": ["a"], "label": {}}': "the text is list",
    '{"text": "a\\u0000b", "label": {}}': "control character U+0000 at position 1",
    '{"text": "a\\nb", "label": {}}': r"control character U+000A at position 1",
    '{"text": "a\\u0085", "label": {}}': "control character U+0085 at position 1",
    '{"text": "\\ud83d", "label": {}}': "control character U+D83D at position 0",
    labelled("字" * (MAX_LENGTH + 1), {}): "the text has 51 characters, the model takes 50",
    '{"text": "a", "label": null}': "the label is not {category: {mention: [[first, last], ...]}}",
    '{"text": "a", "label": []}': "the label is not",
    '{"text": "a", "label": "name"}': "the label is not",
    labelled("a", {"name": ["a"]}): "the label is not",
    labelled("a", {"name": {"a": 0}}): "the label is not",
    labelled("a", {"name": {"a": [0, 0]}}): "the label is not",
    labelled("a", {"name": {"a": [[0]]}}): "the label is not",
    labelled("a", {"name": {"a": [[0, 0, 0]]}}): "the label is not",
    labelled("a", {"name": {"a": ["00"]}}): "the label is not",
    labelled("a", {"name": {"a": [[0.0, 0]]}}): "the label is not",
    labelled("a", {"name": {"a": [[False, False]]}}): "the label is not",
    labelled("a", {"person": {"a": [[0, 0]]}}): "label 'person' is not one of address, book,",
    labelled("a", {"Name": {"a": [[0, 0]]}}): "label 'Name' is not one of",
    '{"text": "a", "label": {"\\ud800": {"a": [[0, 0]]}}}': r"label '\ud800' is not one of",
    labelled("ab", {"name": {"ab": [[0, 2]]}}): "span [0, 2] of name leaves the text",
    labelled("ab", {"name": {"b": [[-1, -1]]}}): "span [-1, -1] of name leaves the text",
    labelled("ab", {"name": {"": [[1, 0]]}}): "span [1, 0] of name leaves the text",
    labelled("ab",
             {"name": {"a": [[0, 1]]}}): "span [0, 1] of name is 'ab', its label says 'a'",  # an end that is exclusive
    labelled("ab", {"name": {"ba": [[0, 1]]}}): "span [0, 1] of name is 'ab', its label says 'ba'",
    '{"text": "a", "label": {"name": {"\\ud800\\u001b": [[0, 0]]}}}': r"its label says '\ud800\x1b'",
    labelled("abc", {"name": {"ab": [[0, 1]]}, "book": {"bc": [[1, 2]]}}): "span [1, 2] of book overlaps another",
    labelled("abc", {"name": {"abc": [[0, 2]], "b": [[1, 1]]}}): "span [1, 1] of name overlaps another",
    labelled("a", {"name": {"a": [[0, 0], [0, 0]]}}): "span [0, 0] of name overlaps another",
}


@pytest.fixture
def corpus(tmp_path):
    """Return a function that writes lines (str or bytes) to dev.json and returns its path."""

    def write(*lines):
        path = tmp_path / "dev.json"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
        return path

    return write


@pytest.mark.parametrize("line", MALFORMED, ids=lambda line: line[:40])
def test_a_malformed_line_is_answered_with_its_place_and_a_reason(corpus, line):
    path = corpus(GOOD, line, GOOD)
    with pytest.raises(BadSample) as caught:
        list(read(path, MAX_LENGTH))
    assert str(caught.value).startswith(f"{path}:2: ") and caught.value.brief.startswith("dev.json:2: ")
    assert MALFORMED[line] in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).encode(), "one line that can be printed and stored"


ENCODINGS = {"gbk": GOOD.encode("gbk"), "utf-16": GOOD.encode("utf-16"), "latin-1": b'{"text": "\xe9", "label": {}}',
             "cut within a character": GOOD.encode()[:12]}


@pytest.mark.parametrize("line", ENCODINGS.values(), ids=ENCODINGS)
def test_another_encoding_is_named(corpus, line):
    with pytest.raises(BadSample, match=r"dev\.json:1: byte \d+ is not UTF-8; convert the file"):
        list(read(corpus(line), MAX_LENGTH))


def test_skipping_counts_and_lists_every_bad_line(corpus):
    path = corpus(GOOD, *[line for bad in MALFORMED for line in (bad, GOOD)])
    skipped = []
    sentences = list(read(path, MAX_LENGTH, on_bad=skipped.append))
    assert len(sentences) == len(MALFORMED) + 1 and len(set(sentences)) == 1
    assert [bad.brief.split(": ")[0] for bad in skipped] == [f"dev.json:{2 * n + 2}" for n in range(len(MALFORMED))]


@SHARED_FOLDER
@given(st.lists(st.binary(max_size=60) | st.sampled_from([line.encode() for line in MALFORMED if len(line) < 200]),
                max_size=5))
def test_no_bytes_ever_end_in_a_traceback(corpus, lines):
    path = corpus(*lines)
    skipped = []
    try:
        sentences = list(read(path, MAX_LENGTH, on_bad=skipped.append))
    except UserError as error:
        assert "holds no usable sentence" in str(error)
        sentences = []
    with open(path, "rb") as file:
        assert len(sentences) + len(skipped) == len(list(file))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "a"]), inner))


@given(text=st.text(max_size=60) | JSON, label=JSON)
def test_no_json_ever_ends_in_anything_but_a_reason(text, label):
    line = json.dumps({"text": text, "label": label}).encode()
    try:
        sentence = cluener.parse(line, MAX_LENGTH, labelled=True)
    except ValueError as error:
        assert str(error)
    else:
        assert len(sentence.tags) == len(sentence.text) == len(text) <= MAX_LENGTH


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n"])
def test_a_file_without_a_sentence(corpus, content):
    with pytest.raises(UserError, match="holds no usable sentence"):
        list(read(corpus(content), MAX_LENGTH, on_bad=lambda bad: None))


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "dev.json", tmp_path):
        with pytest.raises(UserError, match="is not there; fetch the corpus with"):
            list(read(path, MAX_LENGTH))


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_line_ends(corpus, end):
    assert len(list(read(corpus(f"{GOOD}\r\n{GOOD}{end}"), MAX_LENGTH))) == 2


@pytest.mark.parametrize("text", ["字" * MAX_LENGTH, "a\u2028b", "\u3000", "😀" * MAX_LENGTH, "e\u0301", "\u200b\ufeff"])
def test_a_text_is_never_cut_nor_changed(corpus, text):
    assert list(read(corpus(labelled(text, {})), MAX_LENGTH)) == [Sentence(text, ("O",) * len(text))]


def test_tags_by_hand(corpus):
    [sentence] = read(corpus(GOOD), MAX_LENGTH)
    assert sentence.tags == ("B-name", "I-name", "I-name", "O", "B-address", "I-address")
    assert tags_of("ab", {"book": {"a": [[0, 0]], "b": [[1, 1]]}}) == ("S-book", "S-book")
    assert tags_of("abab", {"book": {"ab": [[0, 1], [2, 3]]}}) == ("B-book", "I-book", "B-book", "I-book")


def test_there_are_33_tags_in_the_originals_order():
    assert len(cluener.TAGS) == 33 and cluener.TAGS[0] == "O" and cluener.TAGS[1:3] == ("B-address", "B-book")
    assert cluener.TAGS[-2:] == ("<START>", "<STOP>") and cluener.TAGS[21] == "S-address"


@st.composite
def annotated(draw):
    """A text and disjoint spans of it, as (category, first, last) in order."""
    text = draw(st.text("甲乙丙 a😀", min_size=1, max_size=MAX_LENGTH))
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=10)))
    pairs = [(first, after - 1) for first, after in itertools.pairwise(edges) if draw(st.booleans())]
    return text, [(draw(st.sampled_from(CATEGORIES)), first, last) for first, last in pairs]


def label_of(text, spans):
    label = collections.defaultdict(lambda: collections.defaultdict(list))
    for category, first, last in spans:
        label[category][text[first:last + 1]].append([first, last])
    return label


@given(annotated())
def test_entities_are_those_of_the_label(case):
    text, spans = case
    assert entities(tags_of(text, label_of(text, spans))) == spans


def strict_iobes(tags):
    """Spell BIOS tags as IOBES: what ends a run of I- is E-."""
    spelt = []
    for tag, following in zip(tags, [*tags[1:], "O"]):
        spelt.append(f"E-{tag[2:]}" if tag.startswith("I-") and following != tag else tag)
    return spelt


@given(st.lists(st.sampled_from([*cluener.TAGS[:4], *cluener.TAGS[11:13], *cluener.TAGS[21:23]]), max_size=15))
def test_entities_of_any_tags_are_seqevals_in_strict_mode(tags):
    theirs = Entities([strict_iobes(tags)], IOBES).entities[0]
    assert entities(tags) == [(entity.tag, entity.start, entity.end - 1) for entity in theirs]


@pytest.mark.parametrize("count", [entities, entities_as_the_original_counts])
def test_boundary_tags_are_no_entities(count):
    assert count(["<START>", "B-name", "<STOP>", "S-name", "<START>"]) == [("name", 3, 3)]


def as_the_original_counts(tags):
    """Walk through the tags as CLUENER2020's get_entity_bios is described: one entity is open at most, and I- extend it.

    What opens: B-. What extends: an I- of its category, any number of others between. What closes: every tag but I-. What is
    open counts where it was extended, and at the end of the sentence where the last tag is an I-, extended or not.
    """
    counted, category, first, last = [], None, None, -1
    for place, tag in enumerate(tags):
        position, _, of = tag.partition("-")
        if position != "I":
            if last != -1:
                counted.append((category, first, last))
            category, first, last = (of, place, -1) if position == "B" else (None, None, -1)
            if position == "S":
                counted.append((of, place, place))
        elif first is not None:
            last = place if of == category else last
            if place == len(tags) - 1:
                counted.append((category, first, last))
    return counted


COUNTED = {  # tags, b for book and m for movie: what the original counts
    "": [], "O": [], "Sb": [("book", 0, 0)], "Bb": [], "Ib": [], "Bb O": [], "Bb Bb": [], "Bb Sm": [("movie", 1, 1)],
    "Bb Ib": [("book", 0, 1)], "Bb Ib O": [("book", 0, 1)], "Bb Ib Bm Im": [("book", 0, 1), ("movie", 2, 3)],
    "O Ib Ib": [], "Sb Ib": [("book", 0, 0)], "Bb O Ib": [],
    "Bb Im Ib": [("book", 0, 2)], "Bb Im Ib O": [("book", 0, 2)], "Bb Im Im Ib Im O": [("book", 0, 3)],
    "Bb Ib Im": [("book", 0, 1)], "Bb Ib Im O": [("book", 0, 1)], "Bb Im O": [], "Bb Im Bm": [],
    "Bb Im": [("book", 0, -1)], "O Bb Im Im": [("book", 1, -1)],
}


@pytest.mark.parametrize("short", COUNTED)
def test_entities_by_hand_as_the_original_counts(short):
    names = {"b": "-book", "m": "-movie"}
    tags = [tag[0] + names.get(tag[1:], "") for tag in short.split()]
    assert entities_as_the_original_counts(tags) == as_the_original_counts(tags) == COUNTED[short]


@given(st.lists(st.sampled_from([*cluener.TAGS[:3], *cluener.TAGS[11:14], *cluener.TAGS[21:23], "<STOP>"]),
                max_size=15))
def test_entities_of_any_tags_are_the_originals(tags):
    assert entities_as_the_original_counts(tags) == as_the_original_counts(tags)


@given(annotated())
def test_both_counts_agree_where_no_category_is_within_another(case):
    tags = tags_of(case[0], label_of(*case))
    assert entities_as_the_original_counts(tags) == entities(tags) == case[1]


ODD = ["\u2028", "\u2029", "\u0085", " ", "\u3000", "\r", "\x0b", "\x1c", "\ufeff", "#", "[PAD", "\\n", "😀"]


def test_a_vocabulary_file_keeps_odd_characters(tmp_path):
    tokens = [*SPECIAL, *ODD, *"的一"]
    Vocabulary(tokens).save(tmp_path / "vocab.txt")
    read_back = Vocabulary.load(tmp_path / "vocab.txt")
    assert read_back.tokens == tokens
    assert read_back.ids("的\u2028不 一") == [tokens.index("的"), 5, UNK, tokens.index(" "), len(tokens) - 1]


CHARACTERS = st.characters(exclude_characters="\n", exclude_categories=["Cs"])


@SHARED_FOLDER
@given(st.lists(CHARACTERS, unique=True, max_size=30), st.text(CHARACTERS))
def test_ids_are_those_of_a_dictionary(tmp_path, characters, text):
    Vocabulary([*SPECIAL, *characters]).save(tmp_path / "vocab.txt")
    vocabulary = Vocabulary.load(tmp_path / "vocab.txt")
    number = {character: place + 5 for place, character in enumerate(characters)}
    assert vocabulary.ids(text) == [number.get(character, 1) for character in text]
    assert len(vocabulary) == len(characters) + 5


@pytest.mark.parametrize("content, reason", [
    (b"", r"the vocabulary begins with \[''\]"), ("的\n一\n".encode(), "expected \\[PAD\\] \\[UNK\\]"),
    ("\r\n".join([*SPECIAL, "的"]).encode(), r"begins with \['\[PAD\]\\r'"),
    ("\n".join([*SPECIAL, "的", "一", "的"]).encode(), "holds '的' twice"),
    ("\n".join([*SPECIAL, ""]).encode() + b"\n\n\n", "holds '' twice"),
    (b"\xff\xfe", "is no vocabulary: byte 1 is not UTF-8"), (None, "is not there; it lies beside the weights")])
def test_a_broken_vocabulary_is_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        Vocabulary.load(tmp_path / "vocab.txt")


def brute_force_vocabulary(folder):
    """The original's vocabulary, from every text in the order of the files."""
    count = collections.Counter()
    for name in ("train.json", "dev.json", "test.json"):
        for line in (folder / name).read_text(encoding="utf-8").split("\n"):
            if line:
                count.update(list(json.loads(line)["text"]))
    return [*SPECIAL, *(character for character, _ in count.most_common())]


def test_the_originals_vocabulary(tmp_path):
    overlapping = labelled("丙丙丙", {"name": {"丙丙": [[0, 1]], "丙": [[1, 1]]}})
    unlabelled = '{"id": 0, "text": "甲乙乙"}'
    for name, lines in {"train.json": [GOOD, overlapping], "dev.json": [GOOD], "test.json": [unlabelled]}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokens = Vocabulary.load(tmp_path).tokens
    assert tokens == brute_force_vocabulary(tmp_path)
    assert tokens[5] == "丙", "a text counts even where its label is of no use"
    (tmp_path / "test.json").unlink()
    with pytest.raises(UserError, match=r"test\.json is not there"):
        Vocabulary.load(tmp_path)


def test_the_originals_vocabulary_of_the_released_corpus():
    folder = need("cluener/train.json").parent
    assert Vocabulary.load(folder).tokens == brute_force_vocabulary(folder)


@pytest.mark.parametrize("name, sentences, spans, skipped", [
    ("train.json", 10747, None, ["train.json:1507: "]), ("dev.json", 1343, 3072, [])])
def test_the_released_corpus(name, sentences, spans, skipped):
    bad = []
    found = list(read(need(f"cluener/{name}"), MAX_LENGTH, on_bad=bad.append))
    assert len(found) == sentences and max(len(sentence.text) for sentence in found) == MAX_LENGTH
    assert [error.brief[:len(start)] for error, start in zip(bad, skipped)] == skipped and len(bad) == len(skipped)
    assert all("overlaps another" in error.brief for error in bad)
    if spans:
        assert sum(len(entities(sentence.tags)) for sentence in found) == spans


def test_the_released_test_part_has_no_labels():
    path = need("cluener/test.json")
    assert len(list(read(path, MAX_LENGTH, labelled=False))) == 1345
    with pytest.raises(BadSample, match=r'test\.json:1: no key "label"'):
        list(read(path, MAX_LENGTH))
