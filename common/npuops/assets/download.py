"""One file from one source: continued where it broke off, asked for again with growing pauses, never longer than it may be."""
import hashlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from npukit.command import byte_progress
from npuops.assets.sources import Broken, Refused, Silent, ask

ATTEMPTS = 4  # in a row without a new byte
FIRST_PAUSE = 1.0  # seconds; each further one is twice as long


class Stopped(Exception):
    """Another file's failure ends the run."""


@dataclass
class Download:
    """What comes from `url` to the file `part`, which is kept when it breaks off.

    most   bytes; nothing longer is taken
    size   of the file where it is known, and then also the most; what announces another is not begun
    known  whether the file's digest is known, so that it is found out if the bytes of two sources do not belong together. If it
           is not, only a file that still has the tag of the first bytes is continued
    """

    url: str
    part: Path
    most: int
    size: int | None = None
    known: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> bool:
        """Bring the file; return whether it was continued from an earlier run's bytes.

        raises  Refused where the source does not have it, or stays broken
        """
        began = self.have()
        best, failures = began, 0
        while True:
            try:
                self.attempt()
                return began > 0
            except Broken as problem:
                failures = 0 if self.have() > best else failures + 1
                best = max(best, self.have())
                if failures == ATTEMPTS:
                    raise (Silent if problem.silent else Refused)(f"{problem}, {ATTEMPTS} times in a row") from None
                pause = max(problem.after, FIRST_PAUSE * 2**failures * random.uniform(0.5, 1))
                if self.stop.wait(pause):
                    raise Stopped from None

    def attempt(self) -> None:
        """Ask once and write what comes behind what there is."""
        have, tag = self.have(), self.tag()
        if have and have == self.size:
            return
        answer = ask(self.url, have, tag)
        if answer.start not in (0, have):
            raise Refused("sends another part than it was asked for")
        self.check(answer.total)
        self.remember(answer.tag)
        bar = byte_progress(self.part.name.strip(".").removesuffix(".part"), answer.total, answer.start)
        with bar, open(self.part, "ab" if answer.start else "wb") as file:
            for piece in answer.pieces:
                file.write(piece)
                bar.update(len(piece))
                if file.tell() > self.most:
                    raise Refused(f"sends more than {self.most} bytes")
                if self.stop.is_set():
                    raise Stopped
            came = file.tell()
        whole = answer.total if self.size is None else self.size
        if whole is not None and came < whole:
            raise Broken(f"ends at {came} of {whole} bytes")

    def check(self, announced: int | None) -> None:
        if announced is None:
            return
        if self.size not in (None, announced):
            raise Refused(f"has {announced} bytes, not {self.size}")
        if announced > self.most:
            raise Refused(f"has {announced} bytes, more than the {self.most} that the manifest allows")

    def have(self) -> int:
        """Return how many bytes there are that can be continued."""
        size = self.part.stat().st_size if self.part.exists() else 0
        return size if size <= self.most and (self.known or self.tag()) else 0

    @property
    def note(self) -> Path:
        """The file beside the part that says which file of which source its bytes are of."""
        return self.part.with_name(f"{self.part.name}.tag")

    def tag(self) -> str | None:
        """Return the tag of the bytes that there are, if this source gave them."""
        lines = self.note.read_text(encoding="utf-8").split("\n") if self.note.exists() else []
        return lines[1] if lines[:1] == [self.name()] and lines[1] else None

    def remember(self, tag: str | None) -> None:
        self.note.write_text(f"{self.name()}\n{tag or ''}", encoding="utf-8")

    def name(self) -> str:
        """Return the source's name for the note, which anybody may read: an address can hold a secret."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    def clear(self) -> None:
        """Remove what has come."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
