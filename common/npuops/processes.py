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
import time
from collections.abc import Callable
from pathlib import Path

from npukit.errors import JobFailed

PR_SET_CHILD_SUBREAPER = 36  # source: prctl(2)
PAUSE = 0.1  # seconds between two looks


class Guard:
    """A running command, and how it was told to end.

    told       the signal that this process was sent and handed on
    timed_out  whether the command was ended at its limit
    """

    def __init__(self, limit_s: float | None, patience_s: float | None):
        self.limit_s, self.patience_s = limit_s, patience_s
        self.told: int | None = None
        self.timed_out = False
        self.since: int | None = None  # when the command began
        self.sent: set[int] = set()
        self.over = threading.Event()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def watch(self, pid: int) -> None:
        """Guard a process that has been started; a signal may have come before it was."""
        self.since = int(began(pid))
        threading.Thread(target=self.follow, daemon=True).start()
        if self.told:
            self.send(self.told)

    def hand_on(self, number: int, _=None) -> None:
        self.told = number
        self.send(number)

    def follow(self) -> None:
        """End the command at its limit, reach who has lost its parent to a signal, and kill what outlives patience."""
        start, ending = time.monotonic(), None
        while not self.over.wait(PAUSE):
            now = time.monotonic()
            if self.limit_s is not None and now > start + self.limit_s and not self.timed_out:
                self.timed_out = True
                self.send(signal.SIGTERM)
            if self.told or self.timed_out:
                ending = ending or now
                orphans = {child for child in children(os.getpid()) if child not in self.sent}
                self.send(self.told or signal.SIGTERM, orphans)
                if self.patience_s is not None and now > ending + self.patience_s:
                    self.send(signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left of the command, what it started while it was killed too, and wait until nothing is left."""
        last = time.monotonic() + 5
        while (left := started(self.since)) and time.monotonic() < last:
            self.send(signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):  # a child of one that is about to end
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.005)

    def send(self, number: int, among: set[int] | None = None) -> None:
        """Send a signal to the command and to all that it has started, or to those of them that are given.

        Parents first: a shell whose command died before it would go on with the next one.
        """
        for pid in started(self.since):
            if among is None or pid in among:
                self.sent.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


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
    guard, process = Guard(limit_s, patience_s), None
    before = {number: signal.signal(number, guard.hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = start(command, **printed | options)
        guard.watch(process.pid)
        for line in process.stdout if take else ():
            take(line)
        return process.wait(), guard
    finally:
        if process and process.poll() is None:  # a log that cannot be written must not leave the command at work
            guard.send(signal.SIGKILL)
            process.wait()
            guard.end()
        guard.over.set()
        if guard.told or guard.timed_out:  # nothing that was to end goes on
            guard.end()
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
    return [each for child in children(pid) for each in (child, *below(child))]


def children(pid: int) -> list[int]:
    """Return the processes that a process has started itself or, once their parents have ended, has been given."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return []


def began(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None where there is none of this id.

    source: proc(5), field 22 of stat
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
