"""Assets carried over in one file, and what may have happened to it on the way."""
import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from npukit.errors import UserError
from npuops.assets.archives import Wanted, take
from npuops.assets.bundle import INDEX, pack, unpack
from npuops.assets.manifest import Asset, recorded

FILES = {"corpus/dev.tsv": os.urandom(50_000), "weights/model.bin": b"\x80" + os.urandom(200_000),
         "weights/empty.txt": b""}


def assets(folder, **more):
    return [Asset(to, "MIT", (), folder / "assets.lock", len(c), hashlib.sha256(c).hexdigest(), len(c), **more)
            for to, c in FILES.items()]


def unknown(assets):
    return [dataclasses.replace(asset, sha256=None, size=None, most=300_000) for asset in assets]


@pytest.fixture
def bundle(tmp_path):
    for to, content in FILES.items():
        (tmp_path / "from" / to).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / to).write_bytes(content)
    pack(assets(tmp_path), tmp_path / "from", tmp_path / "b" / "bundle.tar")
    return tmp_path / "b" / "bundle.tar"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and ".locks" not in path.parts}


def test_what_is_packed_arrives(tmp_path, bundle):
    told = unpack(bundle, assets(tmp_path), tmp_path / "to")
    assert files(tmp_path / "to") == FILES and all(line.endswith(": from the bundle") for line in told)
    assert all(line.endswith(": there") for line in unpack(bundle, assets(tmp_path), tmp_path / "to"))
    assert os.listdir(bundle.parent) == ["bundle.tar"] and not (tmp_path / "assets.lock").exists()


def test_equal_assets_make_equal_bundles(tmp_path, bundle):
    for path in (tmp_path / "from").rglob("*"):
        os.utime(path, (0, 0))
    pack(assets(tmp_path), tmp_path / "from", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_digests_travel_along(tmp_path, bundle):
    unpack(bundle, unknown(assets(tmp_path)), tmp_path / "to")
    assert {to: entry["sha256"]
            for to, entry in recorded(tmp_path / "assets.lock").items()} == {a.to: a.sha256 for a in assets(tmp_path)}
    assert recorded(tmp_path / "assets.lock")["corpus/dev.tsv"]["source"] == "the bundle bundle.tar"


def test_what_is_missing_or_not_recorded_is_not_packed(tmp_path, bundle):
    (tmp_path / "from/corpus/dev.tsv").unlink()
    every = r"corpus/dev\.tsv, weights/model\.bin, weights/empty\.txt"
    for wanted, names in ((assets(tmp_path), r"corpus/dev\.tsv"), (unknown(assets(tmp_path)), every)):
        with pytest.raises(UserError, match=rf"from does not have {names}.*make fetch brings and records them"):
            pack(wanted, tmp_path / "from", tmp_path / "b" / "other.tar")
    assert os.listdir(tmp_path / "b") == ["bundle.tar"]


def test_what_is_bound_to_a_licence_and_not_there_is_left_out(tmp_path, bundle):
    bound = Asset("bound/a.txt", "research only", (), tmp_path / "assets.lock", 9, accept="word")
    told = pack([*assets(tmp_path), bound], tmp_path / "from", tmp_path / "again.tar")
    assert told[0] == f"{tmp_path}/from/bound/a.txt: not there, left out: research only"
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def rebuilt(bundle, change):
    """Write the bundle anew; `change` may alter its members, {name: content}, the index read as JSON."""
    with tarfile.open(bundle) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}
    index = json.loads(members.pop(INDEX))
    change(index["files"], members)
    with tarfile.open(bundle, "w") as tar:
        for name, content in {INDEX: json.dumps(index).encode(), **members}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def named(files, to):
    return next(file for file in files if file["to"] == to)


CHANGES = {
    "another content": (lambda files, members: members.update({"corpus/dev.tsv": bytes(50_000)}),
                        "dev.tsv is not what the index says"),
    "a longer content": (lambda files, members: members.update({"corpus/dev.tsv": bytes(50_001)}),
                         "more than the 50000"),
    "a file is missing": (lambda files, members: members.pop("corpus/dev.tsv"),
                          "the archive has no member corpus/dev.tsv"),
    "another digest": (lambda files, members: named(files, "corpus/dev.tsv").update(sha256="0" * 64),
                       "corpus/dev.tsv has sha256 000"),
    "no digest": (lambda files, members: named(files, "corpus/dev.tsv").update(sha256="x"), "is no whole bundle"),
    "a stranger": (lambda files, members: named(files, "corpus/dev.tsv").update(to="a/b"),
                   "no assets.toml here knows a/b"),
    "a way out": (lambda files, members: named(files, "corpus/dev.tsv").update(to="../../b"), "is no whole bundle"),
    "a hidden place": (lambda files, members: named(files, "corpus/dev.tsv").update(to=".locks/b"),
                       "is no whole bundle"),
    "a size of words": (lambda files, members: named(files, "corpus/dev.tsv").update(size="many"),
                        "is no whole bundle"),
    "no list": (lambda files, members: files.append(3), "is no whole bundle"),
}


@pytest.mark.parametrize("change, reason", CHANGES.values(), ids=CHANGES)
def test_a_bundle_that_was_changed_brings_nothing(tmp_path, bundle, change, reason):
    rebuilt(bundle, change)
    with pytest.raises(UserError, match=rf"bundle\.tar.*{reason}"):
        unpack(bundle, assets(tmp_path), tmp_path / "to")
    assert not (tmp_path / "to").exists() or files(tmp_path / "to") == {}


def test_a_bundle_cannot_bring_more_than_the_manifest_allows(tmp_path, bundle):
    small = [dataclasses.replace(asset, most=10) for asset in unknown(assets(tmp_path))]
    with pytest.raises(UserError, match="more than the 10 that the manifest allows"):
        unpack(bundle, small, tmp_path / "to")


@pytest.mark.parametrize("part", [0, 5_000, 100_000])
def test_half_a_bundle_brings_nothing(tmp_path, bundle, part):
    bundle.write_bytes(bundle.read_bytes()[:part])
    with pytest.raises(UserError, match=r"bundle\.tar.*carry it over again"):
        unpack(bundle, assets(tmp_path), tmp_path / "to")
    assert not (tmp_path / "to").exists() or files(tmp_path / "to") == {}


def test_a_disk_that_is_too_small(tmp_path, bundle, small_disk, monkeypatch):
    (small_disk / "full").write_bytes(bytes(900_000))
    for _ in range(2):
        with pytest.raises(UserError,
                           match=r"small.* MB may be needed; make room|the disk of .*small.* is full; make room"):
            pack(assets(tmp_path), tmp_path / "from", small_disk / "bundle.tar")
        with pytest.raises(UserError,
                           match=r"small.* MB may be needed; make room|the disk of .*small.* is full; make room"):
            unpack(bundle, assets(tmp_path), small_disk / "data")
        assert set(files(small_disk)) == {"full"}
        monkeypatch.setattr("npuops.assets.bundle.require_room", lambda *_: None)  # somebody else fills it meanwhile


def test_no_bundle(tmp_path):
    with pytest.raises(UserError, match=r"there is no bundle .*none\.tar; make bundle writes one"):
        unpack(tmp_path / "none.tar", [], tmp_path)


def test_make_bundle_and_unbundle(tmp_path):
    """A toy's one corpus: fetched, packed, unpacked elsewhere."""
    content = (Path(__file__).parents[2] / "toy" / "numbers.txt").read_bytes()
    (tmp_path / "m").mkdir()
    (tmp_path / "m/assets.toml").write_text('[[file]]\nto = "toy/numbers.txt"\nmost = 100_000\nlicence = "MIT"\nsources = []\n')
    (tmp_path / "data/toy").mkdir(parents=True)
    (tmp_path / "data/toy/numbers.txt").write_bytes(content)

    def make(data, *goals):
        return subprocess.run(["make", "-C", Path(__file__).parents[4], f"VENV={sys.prefix}", "ENGINE=none",
                               f"DATA={tmp_path / data}",
                               f"manifests={tmp_path}/m/assets.toml", f"BUNDLE={tmp_path}/toy.tar", *goals],
                              capture_output=True, text=True)

    failed = make("data", "bundle")
    assert failed.returncode == 2 and "or not as recorded; make fetch brings and records them" in failed.stderr
    assert make("data", "fetch").returncode == 0
    assert "read back and verified" in make("data", "bundle").stdout
    assert make("elsewhere",
                "unbundle").returncode == 0 and files(tmp_path / "elsewhere") == {"toy/numbers.txt": content}
    assert take(tmp_path / "toy.tar", [Wanted("toy/numbers.txt", tmp_path / "came", 100_000)]) == {}
