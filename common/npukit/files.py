"""Files that are whole or absent: built aside, moved into place; JSON and digests. Needs nothing but Python."""
import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from npukit.errors import UserError


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give a private name beside `path` to write to, and move it into place if the block ends well.

    Works for a file and for a folder; a folder in the way is replaced. What a killed process leaves carries a
    process id in its name and is in nobody's way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield new
        if path.is_dir():
            shutil.rmtree(path)
        new.replace(path)
    finally:
        if new.is_dir():
            shutil.rmtree(new)
        new.unlink(missing_ok=True)


def require_room(folder: Path, needed: int, remedy: str) -> None:
    """Make a folder; raise UserError, with the remedy, where its disk has less than these bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder} has {free / 1e6:.1f} MB free, and {needed / 1e6:.1f} MB may be needed; {remedy}")


@contextlib.contextmanager
def disk_room(folder: Path, remedy: str) -> Iterator[None]:
    """Turn a full disk, met while the block writes below `folder`, into a UserError with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"the disk of {folder} is full; {remedy}") from None


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def looked_at(*paths: Path) -> None:
    """Say that what comes out depends on these files, be they there or not, as a stage's prerequisites (npuops.stage.reads).

    Python's own reading is seen without it. This is for what a library opens in C or Rust, and for files whose absence matters.
    """
    for path in paths:
        sys.audit("npukit.looked_at", os.fspath(path))


def read_json(path: Path):
    """Read a JSON file of ours; a missing one is named with the remedy."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not there; the stage that makes it has not run") from None
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON ({error}); remove it and run make again") from None


def write_json(path: Path, value) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    with aside(path) as new:
        new.write_text(text, encoding="utf-8")
