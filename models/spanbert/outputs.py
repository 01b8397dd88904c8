"""What the inference tools leave: start and end logits, a file for each, of whole batches, put back in the corpus' order."""
from pathlib import Path

import numpy as np

from npukit.corpus.gears import gear_of
from npukit.corpus.store import load
from npukit.errors import UserError
from windows import Windows

NAMES = ("batch_{:05d}_{}.npy", "{}_output_{}.bin", "{}_{}.bin", "{}_{}.npy")  # infer.sh with ais_bench, msame, ais_bench by hand


def read(folder: Path, corpus: Windows, batch_size: int, order: Path | None = None, gears: list[int] | None = None) -> np.ndarray:
    """Return float32 [windows, L, 2], start and end logits, 0 behind each window's ids.

    folder  of the files, or a folder with one dated folder in it, as the tools make them
    order   order.npy, where infer.sh made the batches, and the gears that it had; without them the batches are in the
            corpus' order, of max_seq_length
    raises  UserError, with the file and the first question in it, where one is missing, too many, cut short or of another
            batch size
    """
    rows_of, widths = made(corpus, batch_size, load(order), gears) if order else plain(corpus, batch_size)
    folder = place_of(folder)
    form = next((form for form in NAMES if (folder / form.format(0, 0)).exists()), None)
    if form is None:
        raise UserError(f"{folder} holds no outputs; run the infer stage first")
    require_all(folder, form, rows_of, corpus)
    logits = np.zeros((len(corpus.windows), corpus.lengths.max(), 2), dtype=np.float32)
    for number, (rows, width) in enumerate(zip(rows_of, widths)):
        real, used = rows >= 0, min(width, logits.shape[1])
        for index in range(2):
            batch = read_one(folder / form.format(number, index), (len(rows), int(width)), corpus.id_of(rows[0]))
            logits[rows[real], :used, index] = batch[real, :used]
    logits[np.arange(logits.shape[1]) >= corpus.lengths[:, None]] = 0
    return logits


def plain(corpus: Windows, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (the window in each row, -1 for filling, int [batches, size]; the length of each batch, int [batches])."""
    count = len(corpus.windows)
    order = np.arange(-(-count // batch_size) * batch_size).reshape(-1, batch_size)
    return np.where(order < count, order, -1), np.full(len(order), corpus.max_seq_length)


def made(corpus: Windows, batch_size: int, order: np.ndarray, gears: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of the batches that infer.sh made."""
    if order.shape[1] != batch_size or order.max() + 1 != len(corpus.windows):
        raise UserError(f"{order.max() + 1} windows were run in batches of {order.shape[1]}; these are {len(corpus.windows)} windows and "
                        f"--eval_batch_size {batch_size}")
    return order, np.array(gears)[gear_of(corpus.lengths, gears)[order].max(1, where=order >= 0, initial=0)]


def place_of(folder: Path) -> Path:
    """Return the folder itself, or the one dated folder in it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; run the infer stage first")
    dated = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(dated) > 1:
        raise UserError(f"{folder} holds the outputs of {len(dated)} runs, {', '.join(path.name for path in dated[:3])}; name one of them")
    return dated[0] if dated else folder


def require_all(folder: Path, form: str, order: np.ndarray, corpus: Windows) -> None:
    """Raise UserError where a batch's file is missing, or there is one too many."""
    wanted = {form.format(number, index): number for number in range(len(order)) for index in range(2)}
    there = {path.name for path in folder.iterdir() if path.suffix in (".npy", ".bin")}
    for name, number in wanted.items():
        if name not in there:
            raise UserError(f"{folder / name} is missing, {len(set(wanted) - there)} of {len(wanted)} files are; the first question in it "
                            f"is {corpus.id_of(order[number, 0])}. Run the infer stage again, or mend --eval_batch_size")
    if extra := sorted(there - set(wanted)):
        last = corpus.id_of(order[order >= 0][-1])
        raise UserError(f"{folder / extra[0]} is one of {len(extra)} files too many: {len(order)} batches end with question {last}. "
                        "Run the infer stage again, or mend --eval_batch_size")


def read_one(path: Path, shape: tuple[int, int], question: str) -> np.ndarray:
    """Return one file's float32 [batch size, L]."""
    array = load(path) if path.suffix == ".npy" else np.fromfile(path, dtype=np.uint8)
    if path.suffix == ".bin" and len(array) == 4 * shape[0] * shape[1]:
        array = array.view(np.float32).reshape(shape)
    if array.shape != shape or array.dtype != np.float32:
        found = f"{len(array)} bytes" if path.suffix == ".bin" else f"{array.dtype} {list(array.shape)}"
        raise UserError(f"{path} holds {found}, expected float32 {list(shape)}, {4 * shape[0] * shape[1]} bytes; the first question in it "
                        f"is {question}. It is cut short, or of another batch size or length than --eval_batch_size and --max_seq_length")
    return array
