"""CLUENER2020 as it is released: one JSON object a line, spans with inclusive ends.

    {"text": "浙商银行企业信贷部叶老桂博士", "label": {"name": {"叶老桂": [[9, 11]]}, "company": {"浙商银行": [[0, 3]]}}}

Every character is a token. Tags are BIOS over ten categories: B- and I- for spans of two characters and more, S- for
a single one, O elsewhere; the two boundary tags exist only in the CRF's transitions.
Source of the order of the tags and of the vocabulary: CLUENER2020 2e8fccd, bilstm_crf_pytorch/config.py, vocabulary.py.
"""
import collections
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from npukit.errors import BadSample, UserError
from npukit.text import decoded

CATEGORIES = ("address", "book", "company", "game", "government",
              "movie", "name", "organization", "position", "scene")
TAGS = ("O", *(f"{position}-{category}" for position in "BIS" for category in CATEGORIES), "<START>", "<STOP>")
TAG_ID = {tag: number for number, tag in enumerate(TAGS)}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0..4
UNK = 1


@dataclass(frozen=True)
class Sentence:
    """One line of the corpus; tags holds one BIOS tag a character, or None where labels are not read."""

    text: str
    tags: tuple[str, ...] | None


def read(path: Path, max_length: int, labelled: bool = True,
         on_bad: Callable[[BadSample], None] | None = None) -> Iterator[Sentence]:
    """Yield the sentences of a file, in order; bad ones go to `on_bad`, or are raised where there is none.

    raises  BadSample with file:line for broken JSON, a missing key, wrong encoding, control characters, an empty
            text, a text longer than max_length, a label outside the set, a span that leaves the text, does not match
            it or overlaps another; UserError for a file that is missing or has no sentence
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; fetch the corpus with `make MODEL=bilstm_crf fetch` or name another --data")
    found = False
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                sentence = parse(line, max_length, labelled)
            except ValueError as error:
                bad = BadSample(path, number, str(error))
                if on_bad is None:
                    raise bad from None
                on_bad(bad)
            else:
                found = True
                yield sentence
    if not found:
        raise UserError(f"{path} holds no usable sentence; expected one JSON object with text and label a line")


def parse(line: bytes, max_length: int, labelled: bool) -> Sentence:
    """Turn one line into a Sentence; raise ValueError with what was found and what was expected."""
    try:
        record = json.loads(decoded(line).rstrip("\r\n"))
    except json.JSONDecodeError as error:
        raise ValueError(f"not a JSON object: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not a JSON object of this corpus: brackets within brackets without end") from None
    for key in ("text", "label")[: 1 + labelled]:
        if not isinstance(record, dict) or key not in record:
            raise ValueError(f'no key "{key}"; expected {{"text": ..., "label": {{category: {{mention: [[first, last]]}}}}}}')
    text = check_text(record["text"], max_length)
    return Sentence(text, tags_of(text, record["label"]) if labelled else None)


def check_text(text: object, max_length: int) -> str:
    """Return the text if the model can read it whole."""
    if not isinstance(text, str) or not text:
        raise ValueError(f"the text is {'empty' if text == '' else type(text).__name__}; expected at least one character")
    for place, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"control character U+{ord(character):04X} at position {place} of the text; remove it")
    if len(text) > max_length:
        raise ValueError(f"the text has {len(text)} characters, the model takes {max_length}; "
                         "split the sentence or raise --max_seq_len (it is never cut)")
    return text


def tags_of(text: str, label: object) -> tuple[str, ...]:
    """Spell the label's spans as one BIOS tag a character; raise ValueError for a span that does not fit the text."""
    tags = ["O"] * len(text)
    for category, mention, first, last in spans_of(label):
        if category not in CATEGORIES:
            raise ValueError(f"label {category!r} is not one of {', '.join(CATEGORIES)}")
        if not 0 <= first <= last < len(text):
            raise ValueError(f"span [{first}, {last}] of {category} leaves the text, whose last character is {len(text) - 1}")
        if text[first:last + 1] != mention:
            raise ValueError(f"span [{first}, {last}] of {category} is {text[first:last + 1]!r}, its label says {mention!r}")
        if any(tag != "O" for tag in tags[first:last + 1]):
            raise ValueError(f"span [{first}, {last}] of {category} overlaps another; a character has one tag")
        tags[first] = ("S-" if first == last else "B-") + category
        tags[first + 1:last + 1] = [f"I-{category}"] * (last - first)
    return tuple(tags)


def spans_of(label: object) -> Iterator[tuple[str, str, int, int]]:
    """Yield (category, mention, first, last) of a label object; ends are inclusive."""
    try:
        for category, mentions in label.items():
            for mention, places in mentions.items():
                for first, last in places:
                    if type(first) is not int or type(last) is not int:
                        raise TypeError
                    yield category, mention, first, last
    except (AttributeError, TypeError, ValueError):
        raise ValueError("the label is not {category: {mention: [[first, last], ...]}}") from None


def entities(tags: tuple[str, ...] | list[str]) -> list[tuple[str, int, int]]:
    """Return (category, first, last) of every span that the BIOS tags spell, ends inclusive.

    A span is S-x, or B-x followed by I-x at least once; an I- without its B- and a lone B- are no spans, as in seqeval's
    strict mode.
    """
    found, first = [], None
    for place, tag in enumerate([*tags, "O"]):
        if first is not None and tag != f"I-{tags[first][2:]}":
            if place - first > 1:
                found.append((tags[first][2:], first, place - 1))
            first = None
        if tag.startswith("S-"):
            found.append((tag[2:], place, place))
        elif tag.startswith("B-"):
            first = place
    return found


def entities_as_the_original_counts(tags: tuple[str, ...] | list[str]) -> list[tuple[str, int, int]]:
    """Return (category, first, last) of every entity that the original's scorer finds in BIOS tags, ends inclusive.

    It differs from entities() where an I- stands behind a B- of another category. It passes over that I-, so that an entity
    reaches to the last I- of its own category: B-book I-movie I-book is one book. Where it passes over all of them and they
    end the sentence, it counts an entity whose last is -1: found, and never right.
    Source: CLUENER2020 2e8fccd, bilstm_crf_pytorch/utils_ner.py
    """
    found = []
    for first, tag in enumerate(tags):
        if tag.startswith("S-"):
            found.append((tag[2:], first, first))
        elif tag.startswith("B-"):
            inside = list(itertools.takewhile(lambda other: other.startswith("I-"), tags[first + 1:]))
            last = max((place for place, other in enumerate(inside, first + 1) if other[2:] == tag[2:]), default=-1)
            if last != -1 or (inside and first + len(inside) + 1 == len(tags)):
                found.append((tag[2:], first, last))
    return found


class Vocabulary:
    """Characters and their ids: the five special tokens first, then one character an id.

    The file is UTF-8 text, one token a line, its id the line's number from 0.
    """

    def __init__(self, tokens: list[str]):
        if tuple(tokens[:len(SPECIAL)]) != SPECIAL:
            raise UserError(f"the vocabulary begins with {tokens[:5]}; expected {' '.join(SPECIAL)}, one a line")
        self.tokens = tokens
        self._id = {token: number for number, token in enumerate(tokens)}
        if len(self._id) != len(tokens):
            twice = next(token for token, count in collections.Counter(tokens).items() if count > 1)
            raise UserError(f"the vocabulary holds {twice!r} twice; every token has one id")

    def __len__(self) -> int:
        return len(self.tokens)

    def ids(self, text: str) -> list[int]:
        """Return one id a character; characters that are not in the vocabulary are [UNK]."""
        return [self._id.get(character, UNK) for character in text]

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a vocabulary file; a folder with the corpus gives the original's vocabulary."""
        if path.is_dir():
            return cls.of_original(path)
        if not path.is_file():
            raise UserError(f"{path} is not there; it lies beside the weights, or --vocab names it")
        try:
            text = decoded(path.read_bytes())
        except ValueError as error:
            raise UserError(f"{path} is no vocabulary: {error}") from None
        return cls(text.removesuffix("\n").split("\n"))

    def save(self, path: Path) -> None:
        """Write the vocabulary file."""
        path.write_bytes("".join(f"{token}\n" for token in self.tokens).encode("utf-8"))

    @classmethod
    def of_original(cls, folder: Path) -> "Vocabulary":
        """Rebuild the vocabulary that belongs to the original's best-model.bin.

        Every character of train.json, dev.json and test.json, most frequent first, ties in the order of reading
        (CLUENER2020 2e8fccd, data_processor.py and vocabulary.py, which keep it in a pickle).
        """
        count = collections.Counter()
        for name in ("train.json", "dev.json", "test.json"):
            for sentence in read(folder / name, max_length=2**31, labelled=False, on_bad=lambda bad: None):
                count.update(sentence.text)
        return cls([*SPECIAL, *(character for character, _ in count.most_common())])
