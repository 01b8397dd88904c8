"""The held-out part of the 1-Billion-Word benchmark: shards of one tokenized sentence a line, words between blanks.

    news.en.heldout-00000-of-00050, news.en.heldout-00001-of-00050, ...

Source  arXiv 1312.3005; ModelZoo-PyTorch 2edbfb6, ACL_PyTorch/contrib/nlp/ELMo/elmo_preprocess.py reads the same files
"""
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npukit import text
from npukit.errors import BadSample, UserError
from npukit.files import looked_at

SHARD = "news.en.heldout-{:05d}-of-00050"
SHARDS = 50


def shards(folder: Path, count: int) -> tuple[list[Path], list[str]]:
    """Return (the shards 0..count-1 that are there, in order; the names of those that are not)."""
    if not 1 <= count <= SHARDS:
        raise UserError(f"--file_num is {count}; the held-out part has 1 to {SHARDS} files, numbered from 0")
    paths = [folder / SHARD.format(number) for number in range(count)]
    looked_at(*paths)
    there = [path for path in paths if path.is_file()]
    if not there:
        raise UserError(f"{folder} holds none of the first {count} shards, {SHARD.format(0)} ...; "
                        "`make MODEL=elmo fetch` brings two")
    return there, [path.name for path in paths if path not in there]


def sentences(paths: list[Path]) -> Iterator[list[str]]:
    """Yield the sentences of shards as words; raise BadSample, with file:line, for a line that is none."""
    count = 0
    for path in paths:
        for number, line in text.lines(path):
            words = [word for word in line.rstrip("\r").split(" ") if word]
            if not words:
                raise BadSample(path, number, "the sentence has no words; remove the line")
            yield words
            count += 1
    if not count:
        raise UserError(f"{', '.join(path.name for path in paths)}: no sentence in {paths[0].parent}; expected one a line")


def digest(paths: list[Path]) -> str:
    """Return the SHA-256 of the shards behind one another."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def spread(count: int, wanted: int) -> list[int]:
    """Return the numbers of `wanted` of `count` sentences, or of all, evenly spread over them; always the same."""
    return np.linspace(0, count, min(count, wanted), endpoint=False, dtype=int).tolist()
