"""SST-2 as GLUE releases it: a header, then a sentence, a tab and a label a line.

    sentence\\tlabel
    it 's a charming and often affecting journey . \\t1

Label 1 is positive, 0 negative. Sentences are tokenized already and end in a blank.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npukit import files, text
from npukit.corpus.wordpiece import LONGEST
from npukit.errors import BadSample, UserError
from npukit.judge import ledger

HEADER = "sentence\tlabel"
AT_ONCE = 4096  # sentences handed to the tokenizer together: fast, and bounded memory


@dataclass(frozen=True)
class Sentence:
    """One line: its number in the file, the text, the label 0 or 1."""

    line: int
    text: str
    label: int


def read(path: Path) -> Iterator[Sentence]:
    """Yield the sentences of a file in order; raise BadSample with file:line for a line that is not one."""
    if not path.is_file():
        raise UserError(f"{path} is not there; `make MODEL=bert_base_sst2 fetch` brings the corpus")
    count = 0
    for number, line in text.lines(path):
        if "\r" in line:
            raise BadSample(path, number,
                            "the line ends in CR LF or holds a CR; convert the file, for instance with dos2unix")
        if number == 1:
            if line != HEADER:
                raise BadSample(path, number, f"expected the header {HEADER!r}, found {line[:40]!r}")
            continue
        yield parse(path, number, line)
        count += 1
    if not count:
        raise UserError(f"{path} holds no sentence; expected the header {HEADER!r} and a sentence and label a line")


def parse(path: Path, number: int, line: str) -> Sentence:
    """Turn one line into a Sentence."""
    sentence, tab, label = line.rpartition("\t")
    if not tab or "\t" in sentence:
        raise BadSample(path, number, f"expected a sentence, one tab and a label, found {line.count(chr(9))} tabs")
    if label not in ("0", "1"):
        raise BadSample(path, number, f"the label is {label!r}, expected 0 or 1")
    if not sentence.strip():
        raise BadSample(path, number, "the sentence is empty")
    return Sentence(number, sentence, int(label))


def encode(path: Path, tokenizer) -> Iterator[tuple[Sentence, list[int]]]:
    """Yield every sentence with its ids, [CLS] and [SEP] included, never cut; raise BadSample beyond 512 pieces."""
    waiting: list[Sentence] = []
    for sentence in read(path):
        waiting.append(sentence)
        if len(waiting) == AT_ONCE:
            yield from encode_batch(path, tokenizer, waiting)
            waiting = []
    if waiting:
        yield from encode_batch(path, tokenizer, waiting)


def encode_batch(path: Path, tokenizer, sentences: list[Sentence]) -> Iterator[tuple[Sentence, list[int]]]:
    for sentence, encoded in zip(sentences, tokenizer.encode_batch([s.text for s in sentences])):
        ids = encoded.ids
        if len(ids) > LONGEST:
            raise BadSample(path, sentence.line,
                            f"the sentence has {len(ids)} word pieces, BERT takes {LONGEST}; it is never cut")
        if len(ids) == 2:  # [CLS] and [SEP]
            raise BadSample(path, sentence.line, "the sentence is empty but for characters that the tokenizer drops")
        yield sentence, ids


def read_labels(path: Path) -> np.ndarray:
    """Return preprocess.py's labels.json, int64 [N]."""
    labels = files.read_json(path)
    if not isinstance(labels, list) or not labels or any(label not in (0, 1) for label in labels):
        raise UserError(f"{path} is not a list of labels, each 0 or 1; preprocess.py writes it")
    return np.array(labels)


def task(inputs: Path) -> ledger.Task:
    """Return what the answers [samples, 2] to preprocess.py's inputs mean: one decision a sentence, judged by its label."""
    labels = read_labels(inputs / "labels.json")
    return ledger.Task(lambda logits: (logits, np.arange(len(labels))),
                       lambda logits: {"accuracy": accuracy(logits, labels)})


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of sentences whose larger logit is the label's.

    logits  float [N, 2]; labels int [N]. A tie counts as wrong, as in the original's postprocess.py.
    """
    own = logits[np.arange(len(labels)), labels]
    return float((own > logits[np.arange(len(labels)), 1 - labels]).mean())
