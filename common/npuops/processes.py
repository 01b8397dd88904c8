"""One guard of processes: run a command, take what it prints, end it with all that it has started.

It is ended on a signal for this process, at a limit, and where what it prints cannot be taken.

A command gets no session of its own, which would outlive a killed make: /proc tells who started whom.
"""
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from npukit.errors import JobFailed


@dataclass
class Guard:
    """A running command, and how it was told to end.

    patience_s  seconds between the signal and SIGKILL for what still runs; None waits as long as it takes
    family      all that has been seen of it: process id -> when it began
    told        the signal that this process was sent and handed on
    timed_out   whether the command was ended at its limit
    """

    patience_s: float | None
    family: dict[int, str] = field(default_factory=dict)
    told: int | None = None
    timed_out: bool = False

    def watch(self, pid: int) -> None:
        """Guard a process that has been started; a signal may have come before it was."""
        self.family = family(pid)
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
            later(self.patience_s, self.send, signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal to the command and to all that it has started.

        Itself first: a shell whose command died before it would go on with the next one. What has lost its parent
        since is known from before; an id that was given again is another's.
        """
        for each, when in list(self.family.items()):
            self.family |= family(each) if began(each) == when else {}
        for each, when in list(self.family.items()):
            if began(each) == when:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, number)


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
    guard, process, limit = Guard(patience_s), None, None
    before = {number: signal.signal(number, guard.hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = start(command, **printed | options)
        guard.watch(process.pid)
        limit = later(limit_s, guard.expire) if limit_s is not None else None
        for line in process.stdout if take else ():
            take(line)
        return process.wait(), guard
    finally:
        if process and process.poll() is None:  # a log that cannot be written must not leave the command at work
            guard.send(signal.SIGKILL)
            process.wait()
        if limit:
            limit.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def start(command: list[str], **options) -> subprocess.Popen:
    try:
        return subprocess.Popen(command, **options)
    except OSError as error:
        raise JobFailed(f"{command[0]} cannot be started: {error.strerror}") from None


def later(seconds: float, action: Callable, *arguments) -> threading.Timer:
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    timer.start()
    return timer


def family(pid: int) -> dict[int, str]:
    """Return a process and all that it has started, parents before children, each with when it began.

    Nothing where it has ended.
    """
    found = {pid: when} if (when := began(pid)) else {}
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= family(int(child))
    return found


def began(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None where there is none of this id.

    source: proc(5), field 22 of stat
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
