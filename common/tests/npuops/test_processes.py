"""The guard of processes: nothing that a command has started is left, whatever ends it, and nothing else is touched."""
import os
import signal
import subprocess
import threading
import time

import pytest
from processes import started_with

from npukit.errors import JobFailed
from npuops import processes


def told(number: int, condition) -> threading.Thread:
    """Send this process a signal once the condition holds."""

    def send() -> None:
        end = time.monotonic() + 20
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_what_a_command_prints_and_its_status():
    lines = []
    status, guard = processes.run(["bash", "-c", "echo a; echo b >&2; exit 3"], lines.append)
    assert (status, lines, guard.told, guard.timed_out) == (3, [b"a\n", b"b\n"], None, False)
    assert processes.run(["bash", "-c", "kill -9 $$"])[0] == -signal.SIGKILL
    with pytest.raises(JobFailed, match="no-such-tool cannot be started: No such file"):
        processes.run(["no-such-tool"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_handlers_come_back(number, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    thread = told(number, (tmp_path / "begun").exists)
    line = f"trap 'kill $!; exit 5' {number.name}; sleep 71.5 & touch {tmp_path}/begun; wait"
    status, guard = processes.run(["bash", "-c", line])
    thread.join()
    assert (status, guard.told, guard.timed_out) == (5, number, False) and not started_with("sleep 71.5")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_what_does_not_end_at_the_limit_is_killed_with_its_orphans(tmp_path):
    """The inner one takes no SIGTERM and loses its parent by it."""
    stubborn = f"trap \"\" TERM; touch {tmp_path}/begun; while true; do sleep 0.1; done # stubborn-72"
    began = time.monotonic()
    status, guard = processes.run(["bash", "-c", f"bash -c '{stubborn}'; true"], lambda line: None, limit_s=1,
                                  patience_s=1)
    assert (status, guard.told, guard.timed_out) == (-signal.SIGTERM, None, True)
    assert (tmp_path / "begun").exists() and time.monotonic() - began < 10 and not started_with("stubborn-72")


def test_a_limit_that_is_not_reached_ends_nothing():
    assert processes.run(["true"], limit_s=0.2)[1].timed_out is False
    time.sleep(0.4)


def test_what_takes_the_lines_may_fail():
    def full(line):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        processes.run(["bash", "-c", "echo a; sleep 73.5; true"], full)
    assert not started_with("sleep 73.5")


def test_a_signal_that_comes_while_the_command_is_started_is_handed_on(monkeypatch):
    def start(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return subprocess.Popen(*arguments, **options)

    monkeypatch.setattr(processes, "start", start)
    status, guard = processes.run(["sleep", "74.5"])
    assert (status, guard.told) == (-signal.SIGTERM, signal.SIGTERM)


def test_what_was_started_before_is_not_the_command_s():
    other = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.05)  # ticks of the kernel's
        assert processes.run(["sleep", "60"], limit_s=0.2)[0] == -signal.SIGTERM
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_is_started_while_a_signal_is_sent_is_reached(tmp_path):
    """A shell that starts one process after another: whichever moment the signal hits, none is left."""
    for _ in range(10):
        line = f"for n in 1 2 3; do sleep 75.{'$'}n & done; touch {tmp_path}/begun; sleep 75.5; true"
        (tmp_path / "begun").unlink(missing_ok=True)
        thread = told(signal.SIGTERM, (tmp_path / "begun").exists)
        status, guard = processes.run(["bash", "-c", line], lambda line: None)
        thread.join()
        assert (status, guard.told) == (-signal.SIGTERM, signal.SIGTERM) and not started_with("sleep 75.")
