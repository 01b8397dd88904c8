"""Input files: paired by position, cut into batches of the model's size, read while the engine works."""
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from standin import arrays
from standin.messages import ToolError, logger
from standin.runtime import Model

MAX_FILES = 100_000  # in one directory
AHEAD = 2  # batches in memory beside the one at work
Item, Value = TypeVar("Item"), TypeVar("Value")


@dataclass(frozen=True)
class Batch:
    """One execution's files: files[input][sample], as many samples as there are and at most `capacity`."""

    first_sample: int
    files: tuple[tuple[Path, ...], ...]
    capacity: int


def plan(paths: list[str], model: Model, one_per_run: bool) -> list[Batch]:
    """The batches of --input: directories or files, one per input of the model, or as many files for each.

    The capacity is how often the first file fits into the model's first input; only bytes count.
    """
    columns = input_files(paths, len(model.inputs))
    file_bytes, capacity = arrays.load(columns[0][0]).nbytes, 1
    if not one_per_run:
        if model.input_bytes(0) == 0:
            model.check([])
        if file_bytes == 0 or model.input_bytes(0) % file_bytes:
            logger.error("arg0 tensorsize: %d filesize: %d not match", model.input_bytes(0), file_bytes)
            raise ToolError(
                f"{columns[0][0]} holds {file_bytes} bytes, {model.inputs[0].name} takes {model.input_bytes(0)}: "
                "expected a file of one sample of the model's dtype"
            )
        capacity = model.input_bytes(0) // file_bytes
    starts = range(0, len(columns[0]), capacity)
    logger.info(
        "get filesperbatch files0 size:%d tensor0size:%d filesperbatch:%d runcount:%d",
        file_bytes, model.input_bytes(0), capacity, len(starts),
    )
    cuts = [[tuple(column[start : start + capacity]) for column in columns] for start in starts]
    return [Batch(start, tuple(files), capacity) for start, files in zip(starts, cuts)]


def input_files(paths: list[str], inputs: int) -> list[list[Path]]:
    """One column of files per input of the model, of equal length; directories in natural order."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise _invalid(f"{missing[0]} of --input is invalid: there is no such file or directory")
    if Path(paths[0]).is_dir():
        if len(paths) != inputs:
            raise _invalid(f"args input dir num:{len(paths)} not equal to model inputs num:{inputs}")
        columns = [_directory(Path(path)) for path in paths]
    else:
        if len(paths) % inputs:
            raise _invalid(f"{len(paths)} input files cannot be shared among {inputs} inputs of the model")
        each = len(paths) // inputs
        columns = [[Path(path) for path in paths[i * each : (i + 1) * each]] for i in range(inputs)]
    for path, column in zip(paths, columns):
        if len(column) != len(columns[0]):
            raise _invalid(f"{paths[0]} holds {len(columns[0])} files, {path} holds {len(column)}: expected as many")
    return columns


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorts data_2 before data_10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"([0-9]+)", name) if part]


def _directory(path: Path) -> list[Path]:
    if not path.is_dir():
        raise _invalid(f"{path} of input args is not a real dir path")
    files = [file for file in path.iterdir() if file.suffix in (".npy", ".bin")]
    if not 0 < len(files) <= MAX_FILES:
        raise _invalid(f"{path} holds {len(files)} .npy and .bin files, expected 1 to {MAX_FILES}")
    return sorted(files, key=lambda file: natural_key(file.name))


def _invalid(sentence: str) -> ToolError:
    logger.error("Invalid args. %s", sentence)
    return ToolError(sentence)


def read(batch: Batch) -> list[np.ndarray]:
    """One array per input: the file's own array in a batch of one, else the samples' bytes [capacity * size], uint8.

    A batch that is not full is filled up with its first sample.
    """
    if batch.capacity == 1:
        return [arrays.load(column[0]) for column in batch.files]
    return [_fill(column, batch.capacity) for column in batch.files]


def _fill(column: tuple[Path, ...], capacity: int) -> np.ndarray:
    samples = [arrays.load(path).reshape(-1).view(np.uint8) for path in column]
    for path, sample in zip(column, samples):
        if sample.nbytes != samples[0].nbytes:
            raise ToolError(f"{path} holds {sample.nbytes} bytes, {column[0]} of the same batch {samples[0].nbytes}")
    return np.concatenate(samples + samples[:1] * (capacity - len(samples)))


def made_up(model: Model, kind: str) -> list[np.ndarray]:
    """Inputs for pure inference: zeros, or random zeros and ones, which no embedding table is too small for."""
    if 0 in (model.input_bytes(index) for index in range(len(model.inputs))):
        model.check([])
    generator = np.random.default_rng()
    return [
        (np.zeros(shape) if kind == "zero" else generator.integers(0, 2, shape)).astype(tensor.dtype)
        for tensor, shape in zip(model.inputs, model.shapes)
    ]


def ahead(function: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    """function(item) for each item in order, computed in a background thread at most AHEAD items early."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
