"""A tarball that may leave the site: text alone, without who, where and what else runs there; and one read back safely.

What is taken out: the user's and the host's names, home folders, the checkout's own place, network and hardware addresses,
mail addresses, and the processes that npu-smi shows. What cleaning does not clean stops the packing.
"""
import getpass
import io
import os
import platform
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

from npukit.errors import JobFailed, UserError
from npukit.files import aside

MEMBER_BYTES, MEMBERS = 20 << 20, 1000  # more of either is no tarball of ours
OUT = "***"  # stands in the place of what was taken out
PATTERNS = {  # what is taken out: what stands in its place
    r"^\| *\d+ +\d+ +\| *\d+ +\|[^|\n]*\|[^\n]*\|$": "| (a process) |",
    r"(Process id/memory\(MB\) *: *)\d+/\d+": rf"\1{OUT}",
    r"\bprocess \d+(, \d+)*\b": f"process {OUT}",
    r"(/(?:home|Users)/)(?!\*)[^/\s'\":]+": rf"\1{OUT}",
    r"\b[\w.+-]+@[\w-]+(\.[\w-]+)+\b": OUT,  # mail
    r"(?<![\w:])[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}(?![\w:])": OUT,  # hardware
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\w|\.\d)": OUT,  # IPv4
    r"(?<![\w:.])(?:(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}|[0-9a-f]{1,4}::(?:[0-9a-f]{1,4}:?)+)(?![\w:])": OUT,  # IPv6
}


class Cleaner:
    """What takes the site out of a text.

    places  {folder of this machine: what is shown for it}, the checkout first of all
    keep    words that look like addresses and are none: versions of four numbers
    """

    def __init__(self, places: dict[Path, str], keep: Iterable[str] = ()):
        own = {str(folder): name
               for folder, name in places.items()} | {str(Path.home()): "~", os.environ.get("HOME", ""): "~"}
        self.places = sorted(((folder, name) for folder, name in own.items() if len(folder) > 1),
                             key=lambda place: -len(place[0]))
        hosts = {platform.node(), platform.node().partition(".")[0], os.environ.get("HOSTNAME", "")}
        users = {user_name(), *(os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER"))}
        words = [rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"
                 for word in (hosts | users) - {"", "root", "localhost"}]
        self.patterns = [(re.compile(pattern, re.M), shown)
                         for pattern, shown in (dict.fromkeys(words, OUT) | PATTERNS).items()]
        self.keep = set(keep)

    def clean(self, text: str) -> str:
        """Return the text without what must not leave the site."""
        for folder, name in self.places:
            text = text.replace(folder, name)
        for pattern, shown in self.patterns:
            text = pattern.sub(lambda found, shown=shown: found[0] if found[0] in self.keep else found.expand(shown),
                               text)
        return text

    def require_clean(self, name: str, text: str) -> None:
        """Raise JobFailed where a text still holds what must not leave the site."""
        if self.clean(text) != text:
            left = next(line for line in text.splitlines() if self.clean(line) != line)
            raise JobFailed(f"{name} would tell who or where this is: {self.clean(left)[:120]!r}; nothing was packed")


def user_name() -> str:
    """Return the user's name, or nothing for a uid that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def pack(path: Path, members: dict[str, str], cleaner: Cleaner) -> None:
    """Write a tarball of texts, each cleaned, and of CONTENTS.txt, which lists them; owners and times are left out.

    raises  JobFailed for a member that cleaning does not clean
    """
    cleaned = {cleaner.clean(name): cleaner.clean(text) for name, text in members.items()}
    listing = "".join(f"{len(text.encode()):>9}  {name}\n" for name, text in cleaned.items())
    cleaned = {"CONTENTS.txt": f"All that is in here, bytes and name; every member is text.\n\n{listing}", **cleaned}
    with aside(path) as new, tarfile.open(new, "w:gz", compresslevel=9) as tar:
        for name, text in cleaned.items():
            cleaner.require_clean(name, f"{name}\n{text}")
            entry = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/{name}")
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))


def read(path: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Return the texts of these members of a tarball; nothing is written to disk, whatever the members are called.

    raises  UserError for what is no such tarball: not one, too large, or without one of the members
    """
    found = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for number, entry in enumerate(tar):
                name = entry.name.partition("/")[2]
                if number >= MEMBERS or entry.size > MEMBER_BYTES:
                    raise UserError(f"{path} is larger than any tarball of first light: {entry.name[:80]!r} has {entry.size} bytes")
                if name in wanted and entry.isfile() and name not in found:
                    found[name] = tar.extractfile(entry).read().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is not there; FROM= names the tarball that first-light wrote") from None
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no tarball of first light: {error}") from None
    if missing := [name for name in wanted if name not in found]:
        raise UserError(f"{path} has no {', '.join(missing)}; expected what make first-light wrote")
    return found
