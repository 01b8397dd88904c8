"""CoNLL-2003 as it is released: four columns a word (word, part of speech, chunk, entity), a blank line behind a sentence.

    -DOCSTART- -X- -X- O

    Ada NNP B-NP B-PER
    Lovelace NNP I-NP I-PER
    wrote VBD B-VP O
    . . O O

Columns are separated by blanks or tabs, lines end in LF or CR LF, and the last blank line may be missing. Entities are tagged
IOB2 (every one begins with B-) or, as the shared task released them, IOB1 (B- only where an entity follows one of its own
type); what a file is is told from its tags, and IOB1 is converted.
Source  Tjong Kim Sang and De Meulder 2003; the tags' order is config.json's of dslim/bert-large-NER 95c62bc
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from npukit import filetypes as forms
from npukit import text
from npukit.errors import BadSample, UserError

TYPES = ("MISC", "PER", "ORG", "LOC")
TAGS = ("O", *(f"{position}-{kind}" for kind in TYPES for position in "BI"))
TAG_ID = {tag: number for number, tag in enumerate(TAGS)}
DOCUMENT = "-DOCSTART-"
RELEASED = "dc4ac7f3d6d01a6bec59261814561da3b287b6b493b97d1f69c580b52ec1831b"  # sha256 of the released test split


@dataclass(frozen=True)
class Sentence:
    """One sentence: its lines in the file, its words, their tags in IOB2, the number of its document from 1 (0: none yet)."""

    lines: tuple[int, ...]
    words: tuple[str, ...]
    tags: tuple[str, ...]
    document: int


def read(path: Path) -> list[Sentence]:
    """Return the sentences of a file in order.

    raises  BadSample with file:line for another number of columns, an unknown tag, an I- that follows nothing (in IOB2),
            wrong encoding; UserError for a file that is missing, is a web page or holds no sentence
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; CoNLL-2003 may not be shipped: `make MODEL=bert_large_ner fetch` says how to get it")
    forms.refuse_web_page(path, str(path))
    sentences, rows, document = [], [], 0
    for line, columns in (*columns_of(path), (0, None)):
        if columns and columns[0] != DOCUMENT:
            rows.append((line, columns[0], columns[3]))
            continue
        if rows:
            sentences.append(Sentence(*map(tuple, zip(*rows)), document))
            rows = []
        document += bool(columns)
    if not sentences:
        raise UserError(f"{path} holds no sentence; expected a word, its part of speech, chunk and entity tag a line")
    return in_iob2(path, sentences)


def columns_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of every line, none for a blank one; raise BadSample for one that is not of the format."""
    for number, line in text.lines(path, "utf-8-sig"):
        columns = re.split(r"[ \t]+", stripped) if (stripped := line.rstrip("\r").strip(" \t")) else []
        if columns and len(columns) != 4:
            raise BadSample(path, number,
                            f"{len(columns)} columns, expected 4: word, part of speech, chunk and entity tag")
        if columns and columns[3] not in TAG_ID:
            raise BadSample(path, number, f"the tag {columns[3]!r} is not one of {', '.join(TAGS)}")
        yield number, columns


def in_iob2(path: Path, sentences: list[Sentence]) -> list[Sentence]:
    """Return the sentences with IOB2 tags; raise BadSample for an I- after nothing where a B- shows that the file is IOB2."""
    only_iob2 = first_line(sentences, lambda tag, before: tag[0] == "B" and before[2:] != tag[2:])
    only_iob1 = first_line(sentences, lambda tag, before: tag[0] == "I" and before[2:] != tag[2:])
    if only_iob1 is None:
        return sentences
    if only_iob2 is not None:
        raise BadSample(path, only_iob1,
                        f"an I- tag follows nothing of its type, but line {only_iob2} begins an entity with B-, "
                                         "as only IOB2 does; the file is neither IOB1 nor IOB2")
    return [Sentence(s.lines, s.words, iob2_of(s.tags), s.document) for s in sentences]


def first_line(sentences: list[Sentence], wanted) -> int | None:
    """Return the line of the first tag for which wanted(tag, the tag before it in its sentence) holds."""
    return next((line for s in sentences
                 for line, before, tag in zip(s.lines, ("O", *s.tags), s.tags) if wanted(tag, before)), None)


def iob2_of(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Convert one sentence's tags from IOB1: what begins an entity gets its B-."""
    return tuple(f"B-{tag[2:]}" if tag[0] == "I" and before[2:] != tag[2:] else tag
                 for before, tag in zip(("O", *tags), tags))


def entities(tags: list[str] | tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Return (type, first, last) of every entity that IOB2 tags spell, ends inclusive.

    A B- begins one and the I- of its type behind it belong to it; an I- without its B- is no entity, as in seqeval's
    strict mode.
    """
    found, first = [], None
    for place, tag in enumerate([*tags, "O"]):
        if first is not None and tag != f"I-{tags[first][2:]}":
            found.append((tags[first][2:], first, place - 1))
            first = None
        if tag[0] == "B":
            first = place
    return found


def counts(sentences: list[Sentence]) -> dict[str, int]:
    """Return how many documents, sentences, tokens and entities there are; the test split has 231, 3453, 46435 and 5648."""
    return {"documents": sentences[-1].document, "sentences": len(sentences),
            "tokens": sum(len(s.words) for s in sentences),
            "entities": sum(len(entities(s.tags)) for s in sentences)}


def require_tags(names: dict[int, str], folder: Path) -> None:
    """Raise UserError where weights number the tags otherwise; LABEL_0 ... are no names and pass."""
    order = [names[number] for number in sorted(names)]
    if order != list(TAGS) and order != [f"LABEL_{number}" for number in range(len(TAGS))]:
        raise UserError(f"{folder}/config.json numbers the tags {', '.join(order)}; expected {', '.join(TAGS)}")
