"""One guard of processes: run a command, take what it prints, end it with all that it has started.

It is ended on a signal for this process, at a limit, and where what it prints cannot be taken.
A command gets no session of its own, which would outlive a killed make. /proc tells who started whom, and who loses its
parent becomes a child of this process.
"""
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from npukit.errors import JobFailed

PR_SET_CHILD_SUBREAPER = 36  # source: prctl(2)


class Guard:
    """A running command, and how it was told to end.

    told       the signal that this process was sent and handed on
    timed_out  whether the command was ended at its limit
    """

    def __init__(self, patience_s: float | None):
        self.patience_s, self.since, self.timers = patience_s, None, []
        self.told: int | None = None
        self.timed_out = False
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def watch(self, pid: int, limit_s: float | None) -> None:
        """Guard a process that has been started; a signal may have come before it was."""
        self.since = int(began(pid))
        if limit_s is not None:
            self.later(limit_s, self.expire)
        if self.told:
            self.end(self.told)

    def hand_on(self, number: int, _=None) -> None:
        self.told = number
        self.end(number)

    def expire(self) -> None:
        self.timed_out = True
        self.end(signal.SIGTERM)

    def end(self, number: int) -> None:
        self.send(number)
        if self.patience_s is not None:
            self.later(self.patience_s, self.send, signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal to the command and to all that it has started, also while it was being sent.

        Parents first: a shell whose command died before it would go on with the next one.
        """
        sent: set[int] = set()
        while new := [pid for pid in started(self.since) if pid not in sent]:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            sent |= set(new)

    def later(self, seconds: float, action: Callable, *arguments) -> None:
        timer = threading.Timer(seconds, action, arguments)
        timer.daemon = True
        timer.start()
        self.timers.append(timer)

    def over(self) -> None:
        """Let nothing of a command that was to end go on, and no timer."""
        for timer in self.timers:
            timer.cancel()
        if self.told or self.timed_out:
            self.send(signal.SIGKILL)


def run(command: list[str], take: Callable[[bytes], None] | None = None, limit_s: float | None = None,
        patience_s: float | None = None, **options) -> tuple[int, Guard]:
    """Run a command until it has ended; return its exit status, -signal if killed, and its guard.

    take        is called with each line that the command prints
    limit_s     seconds after which it is sent SIGTERM
    patience_s  seconds between SIGTERM and SIGKILL; None waits as long as it takes
    options     as subprocess.Popen takes them
    raises      JobFailed where the command cannot be started; what take raises, when nothing of the command is left
    """
    printed = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if take else {}
    guard, process = Guard(patience_s), None
    before = {number: signal.signal(number, guard.hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = start(command, **printed | options)
        guard.watch(process.pid, limit_s)
        for line in process.stdout if take else ():
            take(line)
        return process.wait(), guard
    finally:
        if process and process.poll() is None:  # a log that cannot be written must not leave the command at work
            guard.send(signal.SIGKILL)
            process.wait()
        guard.over()
        for number, handler in before.items():
            signal.signal(number, handler)


def start(command: list[str], **options) -> subprocess.Popen:
    try:
        return subprocess.Popen(command, **options)
    except OSError as error:
        raise JobFailed(f"{command[0]} cannot be started: {error.strerror}") from None


def started(since: int | None) -> list[int]:
    """Return all that this process has started from that moment on, parents before children; nothing for None."""
    return [pid for pid in below(os.getpid()) if since is not None and int(began(pid) or 0) >= since]


def below(pid: int) -> list[int]:
    """Return all that a process has started, parents before children."""
    children = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [each for child in children for each in (child, *below(child))]


def began(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None where there is none of this id.

    source: proc(5), field 22 of stat
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
