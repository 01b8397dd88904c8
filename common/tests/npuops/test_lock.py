"""The lock of this machine: who has it, until when, and what a second one is told."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOCK = [sys.executable, "-IS", str(Path(__file__).parents[2] / "npuops" / "lock.py")]


def holder(*flags: str, command: str) -> subprocess.Popen:
    """Start a command under a lock and wait until it has said a line."""
    process = subprocess.Popen([*LOCK, *flags, "bash", "-c", command], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    return process


def taken(*flags: str) -> bool:
    """Return whether another has the lock."""
    done = subprocess.run([*LOCK, *flags[:-1], "--now", "it is taken", flags[-1], "true"], capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) in [(0, ""), (2, "it is taken\n")]
    return done.returncode == 2


@pytest.fixture(params=["file", "folder"])
def place(request, tmp_path) -> str:
    if request.param == "folder":
        (tmp_path / "folder").mkdir()
    return str(tmp_path / request.param)


def test_one_at_a_time_and_the_next_one_waits(place, tmp_path):
    done = tmp_path / "done"
    with holder(place, command=f"echo; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo first >>{done}"):
        assert taken(place) and taken("--shared", place)
        with subprocess.Popen([*LOCK, place, "bash", "-c", f"echo second >>{done}"]) as second:
            (tmp_path / "go").touch()
            assert second.wait(timeout=60) == 0
    assert done.read_text().split() == ["first", "second"] and not taken(place)


def test_those_who_share_do_not_wait_for_each_other(place):
    with holder("--shared", place, command="echo; sleep 60") as one:
        assert not taken("--shared", place) and taken(place)
        os.killpg(one.pid, signal.SIGKILL)


def test_what_the_command_has_started_keeps_the_lock(place):
    with holder(place, command="sleep 61 & echo; exit 0") as process:
        process.wait()
        assert taken(place)
        os.killpg(process.pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while taken(place):
            assert time.monotonic() < end


def test_a_signal_is_for_the_command_itself(place):
    with holder(place, command="trap 'exit 7' TERM; sleep 60 & echo; wait") as process:
        process.terminate()
        assert process.wait(timeout=10) == 7
        os.killpg(process.pid, signal.SIGKILL)


def test_the_commands_exit_code_is_the_locks(place):
    assert subprocess.run([*LOCK, place, "bash", "-c", "exit 75"]).returncode == 75
    done = subprocess.run([*LOCK, place, "no-such-tool"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, "no-such-tool: command not found\n")
