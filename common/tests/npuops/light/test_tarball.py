"""What leaves a site: nothing that says who or where it is; and what may come in."""
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.errors import JobFailed, UserError
from npuops.light import tarball
from npuops.light.tarball import OUT, Cleaner

SECRETS = ["zelda", "npu-node-17", "npu-node-17.cluster.example.org", "10.20.30.40", "fe80::1ff:fe23:4567:890a",
           "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "02:42:ac:11:00:02", "someone@example.org", "/home/zelda",
           "/home/rival", "rival",
           "/srv/scratch/zelda-checkout", "secret_server", "4711"]
TABLE = """\
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
| 0       1                     | 4711            | secret_server            | 883                       |
| 0       1                     | 4711            |                          | 883                       |
"""
TEXTS = ["zelda@npu-node-17:~$ make", "listening on 10.20.30.40:8080, fe80::1ff:fe23:4567:890a",
         "inet6 2001:0db8:85a3:0000:0000:8a2e:0370:7334",
         "ether 02:42:ac:11:00:02", "mail someone@example.org", "open /home/rival/model.om",
         "cd /srv/scratch/zelda-checkout/models; ls",
         TABLE,
         "device 0 is busy with process 4711, 4711; timings are taken on an idle device",
         "\tProcess id/memory(MB)          : 4711/883",
         "npu-node-17.cluster.example.org says no", '{"home": "/home/zelda", "user": "zelda"}']
HARMLESS = ["ATC start working now, please wait for a moment.", "E10016: [PID: 7] 2025-06-16-13:02:36.801.136 Opname",
            "0000:81:00.0",
            "firmware 7.1.0.3.220 and driver 25.5.0", "ai.onnx::11::Relu", "No running processes found in NPU 0",
            "std::vector ge::Graph",
            "| 0       310P3                 | OK              | NA           45                0     / 0             |",
            "1.5 2.25 3.125 4"]


@pytest.fixture
def cleaner(monkeypatch) -> Cleaner:
    """Of the user zelda on npu-node-17, whose checkout lies in a scratch folder."""
    for name, value in {"USER": "zelda", "LOGNAME": "zelda", "HOME": "/home/zelda", "HOSTNAME": "npu-node-17"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.node", lambda: "npu-node-17.cluster.example.org")
    return Cleaner({Path("/srv/scratch/zelda-checkout"): "."}, keep=["24.1.0.3"])


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


def test_no_member_of_a_tarball_tells_who_or_where(cleaner, tmp_path):
    tarball.pack(tmp_path / "light.tar.gz",
                 {f"logs/{i}-zelda.txt": f"before\n{text}\nafter" for i, text in enumerate(TEXTS)}, cleaner)
    found = members(tmp_path / "light.tar.gz")
    assert len(found) == len(TEXTS) + 1
    for name, text in found.items():
        assert not [secret for secret in SECRETS if secret.encode() in name.encode() + text], text
        assert name.endswith("CONTENTS.txt") or (b"before\n" in text and b"\nafter" in text)
    with tarfile.open(tmp_path / "light.tar.gz") as tar:
        assert {(e.uid, e.gid, e.uname, e.gname, e.mtime) for e in tar} == {(0, 0, "", "", 0)}


def test_its_contents_are_listed(cleaner, tmp_path):
    tarball.pack(tmp_path / "light.tar.gz", {"report.md": "short", "logs/a.txt": "zelda"}, cleaner)
    found = members(tmp_path / "light.tar.gz")
    listed = [line.split() for line in found.pop("light/CONTENTS.txt").decode().splitlines()[2:]]
    assert {f"light/{name}": int(size) for size, name in listed} == {name: len(text) for name, text in found.items()}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_tells_nothing_stays(cleaner, text):
    assert cleaner.clean(text) == text


def test_versions_that_look_like_addresses_are_kept(cleaner):
    assert cleaner.clean("driver 24.1.0.3 at 24.1.0.4") == f"driver 24.1.0.3 at {OUT}"


@given(st.lists(st.sampled_from([*TEXTS, *HARMLESS, " ", "\n", ":", "zelda"])).map("".join))
def test_cleaning_twice_changes_nothing(text):
    cleaner = Cleaner({Path("/srv/scratch/zelda-checkout"): "."})
    assert cleaner.clean(cleaner.clean(text)) == cleaner.clean(text)


def test_what_cleaning_misses_stops_the_packing(cleaner, tmp_path, monkeypatch):
    monkeypatch.setattr(cleaner, "clean", lambda text: text[1:] if "zelda" in text else text)
    with pytest.raises(JobFailed, match=r"report\.md would tell who or where this is"):
        tarball.pack(tmp_path / "light.tar.gz", {"report.md": "by zelda"}, cleaner)
    assert not (tmp_path / "light.tar.gz").exists()


def test_root_and_short_words_inside_others_stay(monkeypatch):
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "np")
    assert Cleaner({}).clean("root cause: np of numpy") == f"root cause: {OUT} of numpy"


# --- What comes in --------------------------------------------------------------------------------------------------------


def planted(path: Path, *entries: tuple[str, bytes | None, bytes]) -> Path:
    """Write a tarball of (name, content, type)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content or b""), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content or b""))
    return path


def test_a_member_is_read_and_nothing_is_written(tmp_path):
    path = planted(tmp_path / "t.tar.gz", ("../../escape", b"no", tarfile.REGTYPE),
                   ("light/facts.json", b"{}", tarfile.REGTYPE),
                   ("light/facts.json", b"later", tarfile.REGTYPE))
    before = sorted(tmp_path.parent.rglob("*"))
    assert tarball.read(path, ["facts.json"]) == {"facts.json": "{}"}
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_no_members(tmp_path, kind):
    with pytest.raises(UserError, match=r"has no facts\.json"):
        tarball.read(planted(tmp_path / "t.tar.gz", ("light/facts.json", None, kind)), ["facts.json"])


def test_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(tarball, "MEMBER_BYTES", 10)
    with pytest.raises(UserError, match="'light/bomb' has 11 bytes"):
        tarball.read(planted(tmp_path / "t.tar.gz", ("light/bomb", b"x" * 11, tarfile.REGTYPE)), ["facts.json"])
    monkeypatch.setattr(tarball, "MEMBERS", 1)
    with pytest.raises(UserError, match="larger than any tarball"):
        tarball.read(planted(tmp_path / "t.tar.gz", ("light/a", b"", tarfile.REGTYPE),
                             ("light/b", b"", tarfile.REGTYPE)), ["facts.json"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut"])
def test_no_tarball(tmp_path, content):
    (tmp_path / "t.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"is no tarball of first light|has no facts\.json"):
        tarball.read(tmp_path / "t.tar.gz", ["facts.json"])


def test_text_that_is_none(tmp_path):
    with pytest.raises(UserError, match="is no tarball of first light"):
        tarball.read(planted(tmp_path / "t.tar.gz", ("light/facts.json", b"\xff", tarfile.REGTYPE)), ["facts.json"])
