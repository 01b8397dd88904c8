"""Samples of differing lengths: kept in one array, run in gears as whole batches, put back in the order of the corpus."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npukit.errors import UserError
from npukit.files import read_json, write_json
from npukit.gears import gear_of
from npukit.samples import load, read_inputs


def write(folder: Path, rows: dict[str, list[list[int]]], gears: list[int], corpus: dict) -> None:
    """Write samples of differing lengths, to be run in gears, and their manifest.

    rows    for each input, in graph order, one row of ids a sample
    writes  <input>.npy int64 [samples, longest], 0 behind each row; lengths.npy int64 [samples]; manifest.json
    """
    lengths = np.array([len(row) for row in next(iter(rows.values()))])
    gear_of(lengths, gears)
    files = {name: f"{name}.npy" for name in rows}
    for name, samples in rows.items():
        array = np.zeros((len(samples), lengths.max()), dtype=np.int64)
        for line, row in zip(array, samples):
            line[:len(row)] = row
        np.save(folder / files[name], array)
    np.save(folder / "lengths.npy", lengths)
    write_json(folder / "manifest.json", {"samples": len(lengths), "gears": gears, "inputs": files, "corpus": corpus})


def read_packed(folder: Path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return (manifest, {name: int64 [samples, longest]}, lengths int64 [samples]) of write()'s folder."""
    manifest = read_json(folder / "manifest.json")
    return manifest, {name: load(folder / file) for name, file in manifest["inputs"].items()}, load(folder / "lengths.npy")


def read(folder: Path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return (manifest, {name: int64 [samples, longest]}, lengths) of either kind of inputs; see read_packed.

    Samples that were filled up to one length (SampleWriter) get their lengths back from the attention_mask.
    """
    if (folder / "lengths.npy").exists():
        return read_packed(folder)
    manifest, arrays = read_inputs(folder)
    lengths = arrays["attention_mask"].sum(1)
    return manifest, {name: array[:, :lengths.max()] for name, array in arrays.items()}, lengths


def by_length(lengths: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the sample numbers in batches of like lengths, so that little is padded."""
    order = np.argsort(lengths, kind="stable")
    for begin in range(0, len(order), size):
        yield order[begin:begin + size]


def write_batches(inputs: Path, size: int, folder: Path) -> None:
    """Write the samples of write()'s folder as whole batches of one gear each, longest gear first.

    writes  <input>/batch_00000.npy int64 [size, gear]; the last batch of a gear is filled up with its first sample.
            order.npy int64 [batches, size]: the sample in each row, -1 for filling
    """
    manifest, arrays, lengths = read_packed(inputs)
    gears = manifest["gears"]
    which, order = gear_of(lengths, gears), []
    for name in arrays:
        (folder / name).mkdir(parents=True)
    for gear in reversed(range(len(gears))):
        members = np.flatnonzero(which == gear)
        for begin in range(0, len(members), size):
            rows = members[begin:begin + size]
            filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
            for name, array in arrays.items():
                batch = np.zeros((size, gears[gear]), dtype=np.int64)
                width = min(gears[gear], array.shape[1])
                batch[:, :width] = array[filled, :width]
                np.save(folder / name / f"batch_{len(order):05d}.npy", batch)
            order.append(np.where(np.arange(size) < len(rows), filled, -1))
    np.save(folder / "order.npy", np.array(order))


def read_outputs(folder: Path, order: np.ndarray, index: int = 0) -> np.ndarray:
    """Return output `index` of every sample, [samples, ...], in the order of the corpus.

    order  what write_batches wrote; all batches' outputs have one shape but for the gear's axis, which is filled with 0
    """
    batches = []
    for number in range(len(order)):
        path = folder / f"batch_{number:05d}_{index}.npy"
        if not path.exists():
            raise UserError(f"{path} is missing; run the infer stage again")
        batches.append(load(path))
    widest = tuple(max(sizes) for sizes in zip(*(batch.shape[1:] for batch in batches)))
    outputs = np.zeros((order.max() + 1, *widest), dtype=batches[0].dtype)
    for rows, batch in zip(order, batches):
        if len(batch) != len(rows):
            raise UserError(f"{folder} holds batches of {len(batch)}, expected {len(rows)}; run the infer stage again")
        real = rows >= 0
        outputs[(rows[real], *(slice(size) for size in batch.shape[1:]))] = batch[real]
    return outputs
