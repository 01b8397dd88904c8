"""Files that are not what they are called."""
import json

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from npukit.errors import UserError
from npukit.filetypes import check


def make(folder, kind):
    path = folder / "came"
    if kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["CNN"] = np.zeros(3)
    elif kind == "safetensors":
        save_file({"a": np.zeros(3)}, path)
    elif kind == "torch":
        torch.save({"a": torch.zeros(3)}, path)
    elif kind == "old torch":
        torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(kind)
    return path


@pytest.mark.parametrize("kind, name, holds", [
    ("hdf5", "w.hdf5", ("CNN",)), ("hdf5", "w.h5", ()), ("safetensors", "w.safetensors", ()), ("torch", "w.bin", ()),
    ("old torch", "w.bin", ()),
    (json.dumps({"lstm": 1}).encode(), "o.json", ("lstm",)), (b"[]", "o.json", ()), (b"a text\n", "heldout-00001", ()),
    (b"", "empty.txt", ())])
def test_what_fits(tmp_path, kind, name, holds):
    check(make(tmp_path, kind), f"place/{name}", holds)


@pytest.mark.parametrize("kind, name, holds, reason", [
    ("hdf5", "w.hdf5", ("CNN", "RNN_0", "RNN_1"), r"is not the HDF5 file that is meant: it has no RNN_0, RNN_1"),
    ("torch", "w.hdf5", (), "is no HDF5 file"), ("hdf5", "w.json", (), "is no JSON"),
    (b'{"a": 1}', "o.json", ("lstm",), "it has no lstm"),
    (b"[1]", "o.json", ("lstm",), "it has no lstm"), (b'{"a": ', "o.json", (), "is no JSON"),
    (b"[" * 100_000, "o.json", (), "is no JSON"), (b"\xff{}", "o.json", (), "is no JSON"),
    ("torch", "w.safetensors", (), "is no safetensors file"), ("hdf5", "w.bin", (), "no checkpoint"),
    (b"  <!DOCTYPE html><title>Log in</title>", "heldout-00001", (), "is a web page"),
    (b"<HTML>", "w.bin", (), "is a web page"),
    (b"<?xml version='1.0'?><Error>", "vocab.txt", (), "is a web page"), (b"", "w.bin", (), "no checkpoint"),
    (b"", "o.json", (), "is no JSON")])
def test_what_does_not_fit_is_named(tmp_path, kind, name, holds, reason):
    with pytest.raises(UserError, match=rf"^place/{name} .*{reason}"):
        check(make(tmp_path, kind), f"place/{name}", holds)


def test_half_an_hdf5_file_is_named(tmp_path):
    path = make(tmp_path, "hdf5")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="is no HDF5 file, or not a whole one"):
        check(path, "w.hdf5")
