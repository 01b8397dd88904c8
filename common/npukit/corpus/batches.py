"""Whole batches of a corpus for the inference tools, and their outputs put back in the order of the corpus."""
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from npukit.corpus import store
from npukit.corpus.gears import gear_of
from npukit.corpus.store import load
from npukit.errors import UserError


def by_length(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the sample numbers in batches of similar lengths, so that little is padded."""
    order = np.argsort(lengths, kind="stable")
    for begin in range(0, len(order), size):
        yield order[begin:begin + size]


def fill(rows: np.ndarray, size: int) -> np.ndarray:
    """Return a batch's rows, int [size]: a batch that is not whole is filled with copies of its first row."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])


def cut(lengths: np.ndarray, seq_lens: list[int], size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (sample numbers, the length of the rows) of whole batches; the last one may have fewer samples.

    Of several lengths the shortest samples come first, and a batch has the shortest length that holds its longest sample:
    what one length has too many of for whole batches runs with the first of the next. Of one length the samples keep
    their order.
    """
    if size < 1:
        raise UserError(f"the batch size is {size}, expected 1 or more")
    for rows in by_length(lengths if len(seq_lens) > 1 else np.zeros_like(lengths), size):
        yield rows, seq_lens[gear_of(lengths[rows], seq_lens).max()]


def write(inputs: Path, size: int, folder: Path, by_gear: bool = False, bins: bool = False) -> list[str]:
    """Write the corpus of a folder of inputs (npukit.corpus.store) as whole batches; return ais_bench's flags for them.

    by_gear  each length's batches in a folder of their own, <length>/, for as many offline models
    bins     for msame, which takes one length a call: of several lengths each in a folder of its own
    writes   [<length>/]<input>/batch_00000.npy [size, length, ...], or 0.bin, in place of those of a call before
             order.npy int64 [batches, size]: the sample in each row, -1 for filling
    """
    manifest, samples = store.read(inputs)
    seq_lens, names = manifest["plan"]["lengths"], folders(manifest)
    by_gear, order = by_gear or (bins and len(seq_lens) > 1), []
    batches = list(cut(samples.lengths, seq_lens, size))  # what cannot be cut removes nothing
    remove(folder, names.values(), "batch_*.npy", "*.bin")
    for number, (rows, length) in enumerate(batches):
        for name, batch in samples.padded(fill(rows, size), length).items():
            place = folder / (str(length) if by_gear else "") / names[name]
            place.mkdir(parents=True, exist_ok=True)
            batch.tofile(place / f"{number}.bin") if bins else np.save(place / f"batch_{number:05d}.npy", batch)
        order.append(np.pad(rows, (0, size - len(rows)), constant_values=-1))
    np.save(folder / "order.npy", np.array(order))
    mode = ["--auto_set_dymdims_mode", "1"] if len(seq_lens) > 1 else ["--batchsize", str(size)]
    return ["--input", ",".join(str(folder / name) for name in names.values()), *mode]


def write_files(inputs: Path, folder: Path) -> None:
    """Write the corpus of a folder of inputs as the originals do by hand, a file for each sample and input.

    writes  <input>/data_00000000.npy [length, ...], in place of those of a call before
    raises  UserError for inputs of several lengths
    """
    manifest, samples = store.read(inputs)
    length, *more = manifest["plan"]["lengths"]
    if more:
        raise UserError(f"{inputs} has {1 + len(more)} lengths; a file a sample needs one, so give preprocess.py one length")
    names = folders(manifest)
    remove(folder, names.values(), "data_*.npy")
    for name in names.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(len(samples)):
        for name, row in samples.padded(np.array([number]), length).items():
            np.save(folder / names[name] / f"data_{number:08d}.npy", row[0])


def folders(manifest: dict) -> dict[str, str]:
    """Return {input: the name of its folder}, in graph order: the inference tools pair folders and inputs by position."""
    return {name: Path(entry["file"]).stem for name, entry in manifest["inputs"].items()}


def remove(folder: Path, names: Iterable[str], *patterns: str) -> None:
    """Remove the files of a call before: were one left, it would be run too."""
    for name in names:
        for pattern in patterns:
            for old in [*folder.glob(f"{name}/{pattern}"), *folder.glob(f"[0-9]*/{name}/{pattern}")]:
                old.unlink()


def read_outputs(folder: Path, samples: int, index: int = 0) -> np.ndarray:
    """Return output `index` of every sample, [samples, ...], in the order of the corpus; see outputs.

    The second axis may be the length of a batch's rows; it is the longest one's, padded with 0.
    """
    found = list(outputs(folder, samples, index))
    widest = tuple(max(sizes) for sizes in zip(*(batch.shape[1:] for _, batch in found)))
    whole = np.zeros((samples, *widest), dtype=found[0][1].dtype)
    for rows, batch in found:
        whole[(rows, *(slice(size) for size in batch.shape[1:]))] = batch
    return whole


def read_flat_outputs(folder: Path, lengths: np.ndarray) -> np.ndarray:
    """Return the first output, [batch, length, ...] a batch, of every token, [tokens, ...], in the order of the corpus."""
    ends, whole = np.cumsum(lengths), None
    for rows, batch in outputs(folder, len(lengths)):
        if whole is None:
            whole = np.zeros((lengths.sum(), *batch.shape[2:]), dtype=batch.dtype)
        for row, output in zip(rows, batch):
            whole[ends[row] - lengths[row]:ends[row]] = output[:lengths[row]]
    return whole


def order_of(folder: Path) -> Path:
    """Return where infer.sh leaves the order of the batches whose outputs are in a folder: beside it."""
    return folder.parent / "batches" / "order.npy"


def outputs(folder: Path, samples: int, index: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (sample numbers [n], output `index` of them [n, ...]) as ais_bench left it, without what filled a batch up.

    With an order.npy (order_of) the outputs are batches, batch_00000_0.npy; without it, as by hand, a file a sample,
    data_00000000_0.npy, with a batch axis of one. All files have one shape, but that batches may differ in length.
    raises  UserError where files are missing or too many, not whole, or of another shape, or the order is of other samples
    """
    batched, name = order_of(folder).exists(), "data_{:08d}_{}.npy"
    order = np.arange(samples)[:, None]
    if batched:
        order, name = load(order_of(folder)), "batch_{:05d}_{}.npy"
        if not np.array_equal(np.sort(order[order >= 0]), np.arange(samples)):
            raise UserError(f"{order_of(folder)} is not the order of these {samples} samples; run the infer stage again")
    wanted, first = [name.format(number, index) for number in range(len(order))], None
    require_all(folder, wanted, index)
    for rows, name in zip(order, wanted):
        batch = load(folder / name)
        first = batch.shape if first is None else first
        same = slice(2 if batched else 1, None)
        if (batch.shape[:1], batch.ndim, batch.shape[same]) != ((len(rows),), len(first), first[same]):
            length = ("L",) if batched else first[1:2]
            expected = ", ".join(map(str, [len(rows), *length[:len(first) - 1], *first[2:]]))
            raise UserError(f"{folder / name} is {list(batch.shape)}, expected [{expected}]; run the infer stage again")
        yield rows[rows >= 0], batch[rows >= 0]


def require_all(folder: Path, wanted: list[str], index: int) -> None:
    """Raise UserError unless a folder holds these files of output `index` and no others."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; run the infer stage first")
    there = {path.name for path in folder.glob(f"*_{index}.npy")}
    missing, extra = sorted(set(wanted) - there), sorted(there - set(wanted))
    if missing or extra:
        names = ", ".join((missing or extra)[:3])
        raise UserError(f"{folder} does not hold the outputs of these samples: {len(missing)} missing, {len(extra)} too many "
                        f"({names}); run the infer stage again")
