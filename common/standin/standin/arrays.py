"""Arrays as files: .npy, .bin (the bytes alone) and .txt."""
from pathlib import Path

import numpy as np

from standin.messages import ToolError


def load(path: Path) -> np.ndarray:
    """An .npy's array, contiguous; any other file's bytes as uint8."""
    if path.suffix != ".npy":
        return np.fromfile(path, np.uint8)
    try:
        return np.ascontiguousarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ToolError(f"{path} is not a readable .npy file: {error}") from None


def save(path: Path, array: np.ndarray) -> None:
    """Write as the suffix says; .txt has a line per row of the last axis, %f or %d."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".bin":
        array.tofile(path)
    else:
        rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
        np.savetxt(path, rows, "%f" if array.dtype.kind == "f" else "%d")
