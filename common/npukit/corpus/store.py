"""The inputs of a corpus on disk: flat samples, their lengths, and the plan by which they become rows of a batch.

    <name>.npy     [tokens, ...], one input of the graph: all samples one after another, without padding
    lengths.npy    int64 [samples], tokens
    seq_lens.txt   the lengths that the graph is compiled for, which makefiles read
    manifest.json  samples; inputs, in graph order; plan; corpus. Written last: where it is, the rest is whole
"""
import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from npukit.corpus.gears import gear_of
from npukit.errors import UserError
from npukit.files import aside, read_json, write_json, write_text

UNKNOWN = 0.05  # of a text; a wrong vocabulary, or one of another case or language, lacks far more


@dataclass(frozen=True)
class Input:
    """One input of the graph: how its file is called, its dtype, the shape of one token, and what a row is padded with."""

    name: str
    dtype: str = "int64"
    shape: tuple[int, ...] = ()
    pad: int = 0


@dataclass(frozen=True)
class Samples:
    """Samples of differing lengths.

    flat     {input: array [tokens, ...]}, in graph order: all samples one after another
    lengths  int64 [samples], tokens
    pads     {input: what a row is padded with}; 0 if not given
    """

    flat: dict[str, np.ndarray]
    lengths: np.ndarray
    pads: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Where each sample begins in the flat arrays, int64 [samples]."""
        return np.cumsum(self.lengths) - self.lengths

    def padded(self, rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Return these samples as rectangles, {input: array [rows, length, ...]}; none may be longer than the length."""
        made = {name: np.full((len(rows), length, *flat.shape[1:]), self.pads.get(name, 0), dtype=flat.dtype)
                for name, flat in self.flat.items()}
        for line, (start, tokens) in enumerate(zip(self.starts[rows], self.lengths[rows])):
            for name, flat in self.flat.items():
                made[name][line, :tokens] = flat[start:start + tokens]
        return made


def unpad(batch: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return [tokens, ...], what is not padding, of samples [N, L, ...] of these lengths."""
    return batch[np.arange(batch.shape[1]) < lengths[:, None]]


def join(inputs: dict[str, Input], rows: dict[str, list]) -> Samples:
    """Return samples from one row of tokens for each, a list or an array [length, ...], in each input.

    raises  ValueError, with the sample's number, for a row without tokens, of another dtype or shape than its input
            declares, or of another length than the sample's first input
    """
    arrays = {name: [np.asarray(row) for row in rows[name]] for name in inputs}
    lengths = np.array([len(array) if array.ndim else 0 for array in next(iter(arrays.values()))])
    for name, spec in inputs.items():
        for number, (array, length) in enumerate(zip(arrays[name], lengths, strict=True)):
            if not length or array.dtype != spec.dtype or array.shape != (length, *spec.shape):
                raise ValueError(f"sample {number}, {name}: {array.dtype}{list(array.shape)} where "
                                 f"{spec.dtype}{[int(length), *spec.shape]} was declared, and one token or more")
    flat = {name: np.concatenate(each) for name, each in arrays.items()}
    return Samples(flat, lengths, {name: spec.pad for name, spec in inputs.items()})


def write(folder: Path, inputs: dict[str, Input], rows: dict[str, list], seq_lens: list[int], corpus: dict) -> None:
    """Write a corpus, in place of what a call before left.

    inputs    of the graph, in its order
    rows      see join
    seq_lens  the plan: a sample's row has the shortest of these lengths that holds it; one length is a fixed one
    corpus    what the report says of the text: name, digest, counts
    raises    as join, and UserError for a sample that is longer than the longest length: it is never cut
    """
    samples = join(inputs, rows)
    gear_of(samples.lengths, seq_lens)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    for name, flat in samples.flat.items():
        save(folder / f"{inputs[name].name}.npy", flat)
    save(folder / "lengths.npy", samples.lengths)
    write_text(folder / "seq_lens.txt", " ".join(map(str, seq_lens)) + "\n")
    described = {name: {"file": f"{spec.name}.npy", "dtype": spec.dtype, "pad": spec.pad} for name, spec in inputs.items()}
    write_json(folder / "manifest.json", {"samples": len(samples), "inputs": described,
                                          "plan": {"kind": "gears", "lengths": seq_lens}, "corpus": corpus})


def save(path: Path, array: np.ndarray) -> None:
    """Write a .npy file aside and move it into place: what somebody has mapped stays as it was."""
    with aside(path) as new, open(new, "wb") as file:
        np.save(file, array)


def read(folder: Path) -> tuple[dict, Samples]:
    """Return (manifest, samples) of a folder that write() filled; the arrays are mapped, not loaded.

    raises  UserError for files that are not whole or do not belong together, or another plan than this npukit knows
    """
    manifest, lengths = read_json(folder / "manifest.json"), load(folder / "lengths.npy")
    inputs = manifest["inputs"]
    if manifest["plan"]["kind"] != "gears":
        raise UserError(f"{folder} has a plan of kind {manifest['plan']['kind']!r}, this npukit knows gears; run preprocess again")
    flat = {name: load(folder / entry["file"], mapped=True) for name, entry in inputs.items()}
    for name, array in flat.items():
        if array.dtype != inputs[name]["dtype"] or array.shape[:1] != (lengths.sum(),):
            raise UserError(f"{folder / inputs[name]['file']} is {array.dtype}{list(array.shape)}, expected "
                            f"{inputs[name]['dtype']}[{lengths.sum()}, ...]; run preprocess again")
    return manifest, Samples(flat, lengths, {name: entry["pad"] for name, entry in inputs.items()})


def read_seq_lens(folder: Path) -> list[int]:
    """Return the lengths of the plan of a folder that write() filled."""
    return read_json(folder / "manifest.json")["plan"]["lengths"]


def load(path: Path, mapped: bool = False) -> np.ndarray:
    """Return the array of a .npy file, mapped into memory if asked for; one that is missing or cut short is named."""
    try:
        return np.load(path, mmap_mode="r" if mapped else None)
    except (OSError, ValueError, EOFError) as error:
        what = str(error).splitlines()[0]
        raise UserError(f"{path} is not a whole .npy file ({what}); run the stage that writes it again") from None


def much_unknown(corpus: dict) -> str | None:
    """Return a warning, one sentence, where the vocabulary lacks more than 5 % of a manifest's corpus; else None."""
    share = corpus.get("unknown_share", 0)
    if share <= UNKNOWN:
        return None
    return (f"{share:.1%} of the text is unknown to the vocabulary ([UNK]), more than {UNKNOWN:.0%}; answers may mean "
            "little: are tokenizer, weights and text made for each other?")


def warn_of_unknown(corpus: dict) -> None:
    """Print that warning on stderr, where there is one."""
    if warning := much_unknown(corpus):
        print(f"warning: {warning}", file=sys.stderr)
