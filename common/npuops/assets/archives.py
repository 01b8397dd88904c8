"""Files out of tar and zip archives that anybody may have packed: by name, to places of our own, no longer than they may be."""
import errno
import lzma
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PIECE = 1 << 20  # bytes
DENSEST = 200  # no archive of text or weights unpacks to more times its own size than this
TORN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError,
        RuntimeError, NotImplementedError)  # the last two: encrypted, packed by other means


@dataclass
class Wanted:
    """One file to be taken from an archive: the path of its member or the end of that path, where it goes, its greatest size."""

    member: str
    place: Path
    most: int


def take(archive: Path, wanted: list[Wanted]) -> dict[str, str]:
    """Write the wanted members of an archive to their places; return what is wrong with those that are not written.

    No name that the archive gives is ever a path here. A member that is a link, a device or a folder, that is in it twice, or
    that is longer than it may be, is refused; the others come all the same.
    """
    try:
        with opened(archive) as members:
            return sort_out(members, wanted, DENSEST * archive.stat().st_size)
    except (*TORN, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a zip's index may point before its beginning
            raise
        return {want.member: "the archive is not whole, or is no zip or tar" for want in wanted}


def sort_out(members: Iterator[tuple[str, str, int, object]], wanted: list[Wanted], most: int) -> dict[str, str]:
    """Go through the members once, as a stream must be; see take()."""
    problems = {want.member: f"the archive has no member {want.member}" for want in wanted}
    seen, named_by_end, unpacked = set(), False, 0
    for name, kind, size, content in members:
        unpacked += size
        if unpacked > most:
            raise tarfile.TarError("unpacks without end")
        for want in wanted:
            if not is_named(name, want.member):
                continue
            named_by_end |= posixpath.normpath(name) != want.member
            problem = refuse(want, kind, size, seen)
            seen.add(want.member)
            if problem := problem or copy(content, want):
                problems[want.member] = problem
                want.place.unlink(missing_ok=True)
            else:
                del problems[want.member]
        if not problems and not named_by_end:  # else a second one of that name may follow
            break
    return problems


def is_named(name: str, member: str) -> bool:
    """Return whether a member's path is the one wanted, or ends in it."""
    path = posixpath.normpath(name)
    return path == member or path.endswith(f"/{member}")


def refuse(want: Wanted, kind: str, size: int, seen: set[str]) -> str | None:
    if want.member in seen:
        return f"the archive has more than one {want.member}"
    if kind != "file":
        return f"the archive's {want.member} is a {kind}, not a file"
    return f"the archive's {want.member} has {size} bytes, more than the {want.most} allowed" if size > want.most else None


def copy(content, want: Wanted) -> str | None:
    """Write a member to its place; what its header says of its size is not believed."""
    left = want.most
    with content() as source, open(want.place, "wb") as file:
        while piece := source.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                return f"the archive's {want.member} has more than the {want.most} bytes allowed"
            file.write(piece)
    return None


@contextmanager
def opened(archive: Path) -> Iterator[Iterator[tuple[str, str, int, object]]]:
    """Give (name, kind, size, how to open it) of each member, in the order of the archive."""
    with open(archive, "rb") as file:
        is_zip = file.read(2) == b"PK"  # zipfile.is_zipfile would take a tar whose last member is a checkpoint for one
    if is_zip:
        with zipfile.ZipFile(archive) as zipped:
            yield ((info.filename, zip_kind(info), info.file_size, lambda info=info: zipped.open(info))
                   for info in zipped.infolist())
    else:
        with tarfile.open(archive, "r|*") as tar:
            yield ((info.name, tar_kind(info), info.size, lambda info=info: tar.extractfile(info)) for info in tar)


def zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    return "folder" if info.is_dir() else "link" if stat.S_ISLNK(mode) else "file"


def tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "link"
    return "file" if info.isreg() else "folder" if info.isdir() else "device"
