"""Does a file look like what it is called? Asked before a digest that nobody knows yet is recorded, and of what has a `holds`."""
import json
from pathlib import Path

from npukit.errors import UserError

HTML = (b"<!doctype", b"<html", b"<?xml", b"<head")  # a login page, an error page of a store
TORCH = (b"PK\x03\x04", b"\x80")  # torch.save: a zip archive, or a pickle's first byte


def check(path: Path, name: str, holds: tuple[str, ...] = ()) -> None:
    """Raise UserError, naming the file, where its content does not fit its name.

    name   what the file is called where it goes; decides what it must be
    holds  the keys that a JSON object, or the entries that an HDF5 file, must have at its top
    """
    refuse_web_page(path, name)
    with open(path, "rb") as file:
        start = file.read(64)
    kind = Path(name).suffix
    if kind == ".json":
        entries(name, "JSON object", json_keys(path, name), holds)
    elif kind in (".hdf5", ".h5"):
        entries(name, "HDF5 file", hdf5_keys(path, name), holds)
    elif kind == ".safetensors":
        safetensors_header(path, name)
    elif kind == ".bin" and not start.startswith(TORCH):
        raise UserError(f"{name} is no checkpoint of PyTorch's")


def refuse_web_page(path: Path, name: str) -> None:
    """Raise UserError, naming the file, for what a login or a store's error sends in a file's place."""
    with open(path, "rb") as file:
        if file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(HTML):
            raise UserError(f"{name} is a web page, not a file of its kind")


def entries(name: str, kind: str, found: set[str], holds: tuple[str, ...]) -> None:
    if missing := sorted(set(holds) - found):
        raise UserError(f"{name} is not the {kind} that is meant: it has no {', '.join(missing)}")


def json_keys(path: Path, name: str) -> set[str]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{name} is no JSON") from None
    return set(value) if isinstance(value, dict) else set()


def hdf5_keys(path: Path, name: str) -> set[str]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return set(file)
    except OSError:
        raise UserError(f"{name} is no HDF5 file, or not a whole one") from None


def safetensors_header(path: Path, name: str) -> None:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except safetensors.SafetensorError:
        raise UserError(f"{name} is no safetensors file, or not a whole one") from None
