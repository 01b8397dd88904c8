"""Files are whole or absent."""
import hashlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts import environment

from npukit.errors import UserError
from npukit.files import aside, read_json, sha256, write_json, write_text

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_the_name_appears_only_when_the_block_has_ended(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with aside(path) as new:
        new.write_text("new")
        assert new.parent == path.parent and not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_failing_block_leaves_what_was_there(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "folder":
        path.mkdir()
    place = path / "b" if kind == "folder" else path
    place.write_text("old")
    with pytest.raises(ZeroDivisionError), aside(path) as new:
        if kind == "folder":
            new.mkdir()
        (new / "b" if kind == "folder" else new).write_text("half")
        raise ZeroDivisionError
    assert place.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "old").touch()
    with aside(path) as new:
        new.mkdir()
        (new / "new").touch()
    assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["a"]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with open(tmp_path / "a.txt") as reader:
        write_text(tmp_path / "a.txt", "new")
        assert reader.read() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(f"""
        import os, pathlib, signal
        from npukit.files import aside
        with aside(pathlib.Path({str(path)!r})) as new:
            new.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """)], env=environment())
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "next")  # what the killed one left is in nobody's way
    assert path.read_text() == "next"


@SHARED_FOLDER
@given(content=st.binary(max_size=100), repeat=st.sampled_from([1, 1000, 40_000]))
def test_sha256_is_that_of_the_whole_content(tmp_path, content, repeat):
    path = tmp_path / "a"
    path.write_bytes(content * repeat)
    assert sha256(path) == hashlib.sha256(content * repeat).hexdigest()


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
                      lambda inner: st.lists(inner)
                      | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner))


@SHARED_FOLDER
@given(value=VALUES)
def test_json_round_trip(tmp_path, value):
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content, reason", [
    (None, "is not there; the stage that makes it has not run"), (b"", "is not whole JSON"),
    (b'{"a": 1', "is not whole JSON"),
    (b'"\xff"', "is not whole JSON")])
def test_unreadable_json_is_named(tmp_path, content, reason):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json {reason}"):
        read_json(path)
