"""Archives that anybody may have packed: nothing leaves its place, nothing is longer than it may be."""
import io
import os
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuops.assets.archives import Wanted, take

CONTENT = os.urandom(3000)
SIZE = len(CONTENT)
KINDS = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
         "block device": tarfile.BLKTYPE,
         "pipe": tarfile.FIFOTYPE, "folder": tarfile.DIRTYPE}


def tarred(members, mode="w:gz", kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(members, kind=0, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = kind << 16, method
            archive.writestr(info, content)
    return file.getvalue()


PACK = {"zip": zipped, "tar.gz": tarred, "tar": lambda m: tarred(m, "w"), "tar.bz2": lambda m: tarred(m, "w:bz2"),
        "tar.xz": lambda m: tarred(m, "w:xz")}


def taken(folder, archive, member="a/b", most=SIZE):
    """Return the problem, or the content that came."""
    (folder / "archive").write_bytes(archive)
    (folder / "in").mkdir(exist_ok=True)
    problem = take(folder / "archive", [Wanted(member, folder / "in" / "came", most)]).get(member)
    assert set(os.listdir(folder)) == {"archive", "in"} and set(os.listdir(folder / "in")) <= {"came"}
    return problem or (folder / "in" / "came").read_bytes()


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
@pytest.mark.parametrize("name, member", [
    ("a/b", "a/b"), ("./a/b", "a/b"), ("top/a/b", "a/b"), ("a/b", "b"), ("../../a/b", "a/b"), ("/a/b", "b")])
def test_a_member_is_found_by_the_end_of_its_path_and_goes_where_we_say(tmp_path, pack, name, member):
    assert taken(tmp_path, pack([("README", b"read me"), (name, CONTENT), ("ab", b"!")]), member) == CONTENT


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_several_at_once_and_each_problem_by_itself(tmp_path, pack):
    (tmp_path / "archive").write_bytes(pack([("x", b"1"), ("y", b"22"), ("d/z", b"333"), ("e/z", b"4")]))
    problems = take(tmp_path / "archive", [Wanted(name, tmp_path / name, 2) for name in ("x", "y", "z", "none")])
    assert (tmp_path / "x").read_bytes() == b"1" and (tmp_path / "y").read_bytes() == b"22" and not (tmp_path / "z").exists()
    assert set(problems) == {"z",
                             "none"} and problems["none"] == "the archive has no member none" and "more than" in problems["z"]


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_two_of_one_name_are_refused(tmp_path, pack):
    assert taken(tmp_path, pack([("x/b", b"1"), ("y/b", b"2")]), "b") == "the archive has more than one b"


@pytest.mark.parametrize("pack", PACK.values(), ids=PACK)
def test_a_longer_member_is_refused(tmp_path, pack):
    assert "has 3000 bytes, more than the 2999 allowed" in taken(tmp_path, pack([("a/b", CONTENT)]), most=2999)


def test_a_header_that_lies_about_the_length_is_not_believed(tmp_path):
    archive = bytearray(zipped([("a/b", CONTENT * 10)]))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = archive.index(signature) + place
        archive[start:start + 4] = (100).to_bytes(4, "little")
    problem = taken(tmp_path, bytes(archive))
    assert isinstance(problem, str) and ("more than" in problem or "not whole" in problem)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(tmp_path, kind):
    word = kind if kind in ("folder", "device") else "link" if "link" in kind else "device"
    assert taken(tmp_path, tarred([("a/b", b"")], kind=KINDS[kind])) == f"the archive's a/b is a {word}, not a file"


def test_a_link_in_a_zip_is_refused(tmp_path):
    assert "is a link, not a file" in taken(tmp_path, zipped([("a/b", b"/etc/passwd")], kind=0o120777))
    assert "is a folder, not a file" in taken(tmp_path, zipped([("a/b/", b"")]))


TORN = {"no archive": CONTENT, "nothing": b"", "half a zip": zipped([("a/b", CONTENT)])[:-40],
        "half a tar.gz": tarred([("a/b", CONTENT)])[:1500],
        "zeros": bytes(5000)}


@pytest.mark.parametrize("archive", TORN.values(), ids=TORN)
def test_what_is_not_whole_is_refused(tmp_path, archive):
    assert taken(tmp_path, archive) in ("the archive is not whole, or is no zip or tar",
                                        "the archive has no member a/b")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_does_not_go_off(tmp_path, pack):
    bomb = pack([("zeros", bytes(20_000_000)), ("a/b", CONTENT)])
    assert len(bomb) < 60_000 and taken(tmp_path, bomb) == "the archive is not whole, or is no zip or tar"


def test_a_tar_that_ends_in_a_checkpoint_is_still_a_tar(tmp_path):
    """A checkpoint of PyTorch's is a zip archive itself, and zip archives are found by their end."""
    checkpoint = zipped([("data.pkl", b"x")], method=zipfile.ZIP_STORED)
    assert taken(tmp_path, tarred([("a/b", CONTENT), ("model.bin", checkpoint)], "w")) == CONTENT


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_is_no_accident(tmp_path_factory, data):
    """The right bytes, or a sentence; never an exception. (That the right bytes are right is for the digest to say.)"""
    pack = data.draw(st.sampled_from(sorted(PACK)))
    archive = bytearray(PACK[pack]([("a/b", CONTENT)]))
    for _ in range(data.draw(st.integers(1, 5))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    assert taken(tmp_path_factory.mktemp("damage"), bytes(archive))
