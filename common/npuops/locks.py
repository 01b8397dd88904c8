"""A lock between processes on any hosts that share a file system, where flock is not to be relied on.

A lock is a folder of numbered turns, `00000007.held` or `00000007.free`. Who creates the file of the next number has the lock; it is
tried only when the newest turn is over: freed, or its holder dead. Creating a file that must not exist is the only step that has to be
atomic, and it is, on NFS too; so two who find the same holder dead cannot both follow it. A holder touches its file every BEAT seconds.
It counts as dead when its process is seen to be gone (same host), or when its file has kept its time for PATIENCE seconds of the waiting
one's own clock (any host): longer than NFS remembers a file's time.

(filelock's soft locks beat and wait as these do, but take a dead holder's place by exchanging two names, which NFS refuses: there they
wait for it for ever. source: filelock 4.2.11, _util.py, break_lock_file; the last test of test_locks.py shows it.)
"""
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from npuops.processes import began

BEAT, PATIENCE, PAUSE = 10.0, 120.0, 0.2  # seconds; PAUSE between two looks


@contextlib.contextmanager
def hold(lock: Path, waiting: Callable[[str], None] = lambda owner: None) -> Iterator[None]:
    """Have the lock, a folder of this name, while the block runs; wait for it as long as its holder lives.

    waiting  is called at each look while another has it, with words for who that is; what it raises ends the waiting
    """
    turn, over = take(lock, waiting), threading.Event()
    beat = threading.Thread(target=keep_touching, args=(turn, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(FileNotFoundError):  # another has found us dead, and gone on
            turn.rename(turn.with_suffix(".free"))


def take(lock: Path, waiting: Callable[[str], None]) -> Path:
    """Return the turn that is ours."""
    lock.mkdir(parents=True, exist_ok=True)
    watched = Watch()
    while True:
        number, held = newest(lock)
        if held is None or watched.is_dead(held):
            if turn := claim(lock, number + 1):
                return turn
        else:
            waiting(words(owner(held)))
        time.sleep(PAUSE)


def newest(lock: Path) -> tuple[int, Path | None]:
    """Return the newest turn's number, 0 if there is none, and its file where it is held."""
    turns = [path for path in lock.iterdir() if path.suffix in (".held", ".free")]
    number = max((int(path.stem) for path in turns), default=0)
    return number, next((path for path in turns if int(path.stem) == number and path.suffix == ".held"), None)


def claim(lock: Path, number: int) -> Path | None:
    """Create a turn; return it, or None where another was first."""
    turn = lock / f"{number:08}.held"
    try:
        with open(turn, "x", encoding="utf-8") as file:
            json.dump(myself(), file)
    except FileExistsError:
        return None
    if newest(lock)[0] != number:  # we looked long ago: others have had this number, and it was cleared away
        turn.unlink()
        return None
    for old in lock.iterdir():
        if old.stem.isdigit() and int(old.stem) < number - 1:
            old.unlink(missing_ok=True)
    return turn


def keep_touching(turn: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(turn)


class Watch:
    """What a waiting process has seen of a holder's file."""

    def __init__(self):
        self.seen, self.since = None, 0.0

    def is_dead(self, held: Path) -> bool:
        try:
            stamp = held.name, held.stat().st_mtime_ns
        except FileNotFoundError:
            return False  # freed since it was listed
        if stamp != self.seen:
            self.seen, self.since = stamp, time.monotonic()
        return is_gone(owner(held)) or time.monotonic() - self.since > PATIENCE


def myself() -> dict:
    """Return what tells this process from every other: its host, the kernel's boot, where its id counts, when it began."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "space": space(), "began": began(os.getpid())}


def space() -> list[str] | None:
    """Return the kernel's boot id and the namespace in which process ids count, None where /proc does not tell."""
    try:
        return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        return None


def owner(held: Path) -> dict:
    try:
        return json.loads(held.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # freed, or not yet written


def is_gone(holder: dict) -> bool:
    """Return whether the holder was a process of this very machine that is no more."""
    return bool(holder) and holder["space"] is not None and holder["space"] == space() and began(holder["pid"]) != holder["began"]


def words(holder: dict) -> str:
    return f"process {holder['pid']} on {holder['host']}" if holder else "another process"
