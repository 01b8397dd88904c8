"""Samples of differing lengths: kept in one array, run in gears as whole batches, put back in the order of the corpus."""
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from npukit.corpus.gears import gear_of
from npukit.corpus.samples import Input, SampleWriter, load, read_inputs
from npukit.corpus.samples import read_outputs as samples_outputs
from npukit.errors import UserError
from npukit.files import read_json, write_json, write_text


def write_inputs(folder: Path, rows: dict[str, list[list[int]]], seq_lens: list[int], corpus: dict, batch_size: int | None = None) -> None:
    """Write samples as the graph takes them, in place of what a call before left: filled up to the one length, or for gears.

    rows    for each input, in graph order, one row of ids a sample, none longer than the longest of seq_lens
    writes  seq_lens.txt, the lengths that the graph is to be compiled for; of one length <input>/data_00000000.npy int64 [length];
            of several what write() writes and, with a batch size, write_batches()
    """
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("manifest.json", "lengths.npy", "order.npy", *(f"{name}/*.npy" for name in rows)):
        for old in folder.glob(pattern):  # other lengths have other files, and what is left of them would be read
            old.unlink()
    write_text(folder / "seq_lens.txt", " ".join(map(str, seq_lens)) + "\n")
    if len(seq_lens) > 1:
        write(folder, rows, seq_lens, corpus)
        if batch_size is not None:
            write_batches(folder, batch_size, folder)
        return
    samples = SampleWriter(folder, {name: Input(name, "int64", (seq_lens[0],)) for name in rows})
    for sample in zip(*rows.values()):
        samples.add(**{name: np.pad(np.array(row, dtype=np.int64), (0, seq_lens[0] - len(row))) for name, row in zip(rows, sample)})
    samples.finish(corpus)


def write(folder: Path, rows: dict[str, list], gears: list[int], corpus: dict, directories: dict[str, str] | None = None) -> None:
    """Write samples of differing lengths, to be run in gears, and their manifest.

    rows         for each input, in graph order, one row of ids a sample, or array [length, ...]
    directories  of the inputs, where they are called otherwise than the inputs
    writes       <directory>.npy int64, or the arrays' dtype, [tokens, ...]: all rows behind one another; lengths.npy int64
                 [samples]; manifest.json
    """
    flat, lengths = joined(rows)
    gear_of(lengths, gears)
    files = {name: f"{(directories or {}).get(name, name)}.npy" for name in rows}
    for name, array in flat.items():
        np.save(folder / files[name], array)
    np.save(folder / "lengths.npy", lengths)
    write_json(folder / "manifest.json", {"samples": len(lengths), "gears": gears, "inputs": files, "corpus": corpus})


def joined(rows: dict[str, list]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return ({name: array [tokens, ...], all rows behind one another}, lengths int64 [samples])."""
    lengths = np.array([len(row) for row in next(iter(rows.values()))])
    return {name: np.concatenate([np.asarray(row) for row in samples]) for name, samples in rows.items()}, lengths


def packed(rows: dict[str, list]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return ({name: array [samples, longest, ...], 0 behind each row}, lengths int64 [samples]) of rows of differing lengths."""
    flat, lengths = joined(rows)
    return spread(flat, lengths), lengths


def read_flat(folder: Path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return (manifest, {name: array [tokens, ...]}, lengths int64 [samples]) of write()'s folder."""
    manifest = read_json(folder / "manifest.json")
    return manifest, {name: load(folder / file) for name, file in manifest["inputs"].items()}, load(folder / "lengths.npy")


def padded(flat: np.ndarray, lengths: np.ndarray, rows: np.ndarray, width: int, filling: int = 0) -> np.ndarray:
    """Return these samples of [tokens, ...] as one array [rows, width, ...], the filling behind each."""
    array = np.full((len(rows), width, *flat.shape[1:]), filling, dtype=flat.dtype)
    starts = np.cumsum(lengths) - lengths
    for line, row in zip(array, rows):
        line[:lengths[row]] = flat[starts[row]:starts[row] + lengths[row]]
    return array


def spread(flat: dict[str, np.ndarray], lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Return {name: array [samples, longest, ...]}, 0 behind each row, of arrays [tokens, ...]."""
    return {name: padded(array, lengths, np.arange(len(lengths)), lengths.max()) for name, array in flat.items()}


def read_packed(folder: Path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return (manifest, {name: int64 [samples, longest]}, lengths int64 [samples]) of write()'s folder, 0 behind each row."""
    manifest, flat, lengths = read_flat(folder)
    return manifest, spread(flat, lengths), lengths


def read(folder: Path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return (manifest, {name: int64 [samples, longest]}, lengths) of either kind of inputs; see read_packed.

    Samples that were filled up to one length (SampleWriter) get their lengths back from the attention_mask.
    """
    if (folder / "lengths.npy").exists():
        return read_packed(folder)
    manifest, arrays = read_inputs(folder)
    lengths = arrays["attention_mask"].sum(1)
    return manifest, {name: array[:, :lengths.max()] for name, array in arrays.items()}, lengths


def require_order(folder: Path, directories: list[str]) -> None:
    """Raise UserError where directories, paths or names, are not the graph's inputs in their order: tools pair them by position."""
    inputs = {name: Path(file).stem for name, file in read_json(folder / "manifest.json")["inputs"].items()}
    if [Path(directory).name for directory in directories] != list(inputs.values()):
        raise UserError(f"the inputs are given as {','.join(directories)}; the graph takes, in this order, "
                        f"{', '.join(f'{directory} (as {name})' for name, directory in inputs.items())}")


def read_seq_lens(folder: Path) -> list[int]:
    """Return the lengths that the graph is to be compiled for, as preprocess.py left them in seq_lens.txt."""
    return [int(length) for length in (folder / "seq_lens.txt").read_text().split()]


def by_length(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the sample numbers in batches of like lengths, so that little is padded."""
    order = np.argsort(lengths, kind="stable")
    for begin in range(0, len(order), size):
        yield order[begin:begin + size]


def write_batches(inputs: Path, size: int, folder: Path, apart: bool = False, bins: bool = False) -> None:
    """Write the samples of write()'s folder as whole batches of one gear each; of several gears the shortest samples first.

    A batch runs in the smallest gear that holds its longest sample: those that a gear has too many for whole batches run
    with the first of the next one, so that only the very last batch has to be filled up, with its first sample.
    apart   each gear's batches in a folder of their own, <gear>/, for as many offline models
    bins    for msame, which takes one length a call: of several gears each apart
    writes  [<gear>/]<directory>/batch_00000.npy [size, gear, ...], or 0.bin
            order.npy int64 [batches, size]: the sample in each row, -1 for filling
    """
    if size < 1:
        raise UserError(f"the batch size is {size}, expected 1 or more")
    manifest, arrays, lengths = read_flat(inputs)
    gears, apart = manifest["gears"], apart or (bins and len(manifest["gears"]) > 1)
    directories = {name: Path(file).stem for name, file in manifest["inputs"].items()}
    remove_batches(folder, directories.values())
    order = []
    for rows in by_length(lengths if len(gears) > 1 else np.zeros_like(lengths), size):
        gear = gears[gear_of(lengths[rows], gears).max()]
        filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
        for name, array in arrays.items():
            place = folder / (str(gear) if apart else "") / directories[name]
            place.mkdir(parents=True, exist_ok=True)
            batch = padded(array, lengths, filled, gear)
            batch.tofile(place / f"{len(order)}.bin") if bins else np.save(place / f"batch_{len(order):05d}.npy", batch)
        order.append(np.where(np.arange(size) < len(rows), filled, -1))
    np.save(folder / "order.npy", np.array(order))


def remove_batches(folder: Path, directories: Iterable[str]) -> None:
    """Remove the batches of a call before: were one left, it would be run too."""
    for directory in directories:
        for pattern in ("batch_*.npy", "*.bin"):
            for old in [*folder.glob(f"{directory}/{pattern}"), *folder.glob(f"[0-9]*/{directory}/{pattern}")]:
                old.unlink()


def read_outputs(folder: Path, order: np.ndarray, index: int = 0) -> np.ndarray:
    """Return output `index` of every sample, [samples, ...], in the order of the corpus.

    order   what write_batches wrote; all batches' outputs have one shape but for the second axis, which may be the
            gear's and is then filled with 0
    raises  UserError where a batch is missing, there is one too many, or one has another shape
    """
    batches = list(output_batches(folder, order, index))
    widest = tuple(max(sizes) for sizes in zip(*(batch.shape[1:] for batch in batches)))
    outputs = np.zeros((order.max() + 1, *widest), dtype=batches[0].dtype)
    for rows, batch in zip(order, batches):
        real = rows >= 0
        outputs[(rows[real], *(slice(size) for size in batch.shape[1:]))] = batch[real]
    return outputs


def read_answers(folder: Path, samples: int, order: Path | None, index: int = 0) -> np.ndarray:
    """Return output `index` of every sample, [samples, ...], whichever way they were run: as batches where there is an order.npy."""
    return read_outputs(folder, load(order), index) if order and order.exists() else samples_outputs(folder, samples, index)


def read_flat_outputs(folder: Path, order: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the first output, [batch, gear, ...] a batch, for every token, [tokens, ...], in the order of the corpus.

    raises  as read_outputs
    """
    starts, outputs = np.cumsum(lengths) - lengths, None
    for rows, batch in zip(order, output_batches(folder, order)):
        if outputs is None:
            outputs = np.zeros((lengths.sum(), *batch.shape[2:]), dtype=batch.dtype)
        for row, output in zip(rows, batch):
            if row >= 0:
                outputs[starts[row]:starts[row] + lengths[row]] = output[:lengths[row]]
    return outputs


def output_batches(folder: Path, order: np.ndarray, index: int = 0) -> Iterator[np.ndarray]:
    """Yield output `index` of each batch, [batch, ...]; refuse one that is missing, one too many, or of another shape."""
    first = None
    for number, rows in enumerate(order):
        path = batch_file(folder, number, index)
        if not path.exists():
            raise UserError(f"{path} is missing; run the infer stage again")
        batch = load(path)
        first = batch.shape if first is None else first
        if (batch.shape[:1], batch.ndim, batch.shape[2:]) != ((len(rows),), len(first), first[2:]):
            expected = ", ".join(map(str, [len(rows), *(["L"] if first[1:] else []), *first[2:]]))
            raise UserError(f"{path} is {list(batch.shape)}, expected [{expected}]; run the infer stage again")
        yield batch
    if (path := batch_file(folder, len(order), index)).exists():
        raise UserError(f"{path} is one too many; run the infer stage again")


def batch_file(folder: Path, number: int, index: int) -> Path:
    """Return the file in which ais_bench leaves output `index` of a batch."""
    return folder / f"batch_{number:05d}_{index}.npy"
