"""Bring assets to data/: from a local folder, a mirror, then their sources in order; each verified, moved into place whole, once.

Several fetches may run at once, on several hosts of a shared file system: who comes second to a file, or to an archive, waits and finds
it there. Nothing here trusts a source: what counts is the digest, and for a file that has none yet, its form.
"""
import concurrent.futures
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from npukit import filetypes as forms
from npukit.errors import Unavailable, UserError
from npukit.files import aside, disk_room, require_room, sha256
from npuops.assets import archives
from npuops.assets.download import Download, Stopped
from npuops.assets.manifest import Asset, lock_of, record, room
from npuops.assets.sources import SCHEMES, Refused, Silent, address, below, origin, shown
from npuops.locks import hold

WORKERS = 4
REMEDY = "make room, or name another place with DATA=, and fetch again: what has come is kept"


def fetch(wanted: list[Asset], data: Path, local: Path | None = None, mirror: str | None = None,
          accept: Iterable[str] = (),
          tell: Callable[[str], None] = print) -> None:
    """Bring every wanted file to its place below data/ and tell, a line a file, where it came from.

    local, mirror  tried first, and believed by digest alone: any file below the folder; the same path below the mirror's address
    accept         the words with which the user says that he may have what is bound to a licence; without its word such a file is
                   left out, and told of
    raises         UserError, Unavailable, after all that can be had is there, naming the rest and what to do
    """
    if mirror and urlsplit(mirror).scheme not in SCHEMES:
        raise UserError("MIRROR= is no address; give https://..., s3://bucket/prefix or file:///folder")
    run = Fetch(data, frozenset(accept), tell)
    missing = run.from_local([asset for asset in wanted if not run.is_there(asset)], local)
    missing = [asset for asset in missing if run.is_allowed(asset)]
    require_room(data, room(missing), REMEDY)
    if mirror:
        run.round([Unit(None, below(mirror, asset.to), [asset]) for asset in missing if asset.sha256])
    for rank in range(max((len(asset.sources) for asset in missing), default=0)):
        run.round(units([asset for asset in missing if asset.to not in run.done and rank < len(asset.sources)], rank))
    if rest := [asset for asset in missing if asset.to not in run.done]:
        raise run.verdict(rest, len(wanted))


@dataclass
class Unit:
    """What is downloaded at once: one file, or the archive that carries several."""

    source: dict | None  # of an archive: most, and which member of it is in each asset's own source
    url: str
    assets: list[Asset]
    members: tuple[str, ...] = ()


def units(assets: list[Asset], rank: int) -> list[Unit]:
    """Return the downloads that bring these assets from their sources of one rank; an archive is downloaded once."""
    found = {}
    for asset in assets:
        source = asset.sources[rank]
        url = address(source)
        if "member" not in source:
            found[asset.to, url] = Unit(None, url, [asset])
            continue
        unit = found.setdefault(url, Unit(source, url, []))
        unit.assets.append(asset)
        unit.members += (source["member"],)
    return list(found.values())


class Fetch:
    """One run: what is in place, and why the rest is not."""

    def __init__(self, data: Path, accept: frozenset[str], tell: Callable[[str], None]):
        self.data, self.accept, self.tell = data, accept, tell
        self.done: set[str] = set()
        self.problems: dict[str, list[str]] = {}
        self.silent: dict[str, str] = {}  # hosts that did not answer, and what was wrong
        self.waited: set[str] = set()
        self.stop, self.one_line = threading.Event(), threading.Lock()

    def is_there(self, asset: Asset) -> bool:
        """Return whether a file is in place; one that nobody has seen before is looked at, and recorded."""
        place = self.data / asset.to
        if asset.sha256 is None and place.is_file():
            try:
                self.admit(place, asset, "your own copy")
            except UserError as error:
                self.note(asset, str(place), str(error))
            else:
                self.finish(asset, f"there; its digest is in {asset.lock}")
        elif asset.is_at(place):
            self.finish(asset, "there")
        return asset.to in self.done

    def is_allowed(self, asset: Asset) -> bool:
        """Return whether the asset may be downloaded; tell of it if it may not."""
        if asset.accept in (None, *self.accept):
            return True
        place = self.data / asset.to
        if place.is_file() and asset.sha256:
            self.tell(f"{place}: another file than the released one: its sha256 is {sha256(place)}, not {asset.sha256}. Put the released "
                      f"one there, or say with ACCEPT={asset.accept} that you may have it, and it is downloaded in its place")
        else:
            self.tell(f"{place}: left out: {asset.licence}. Put your own copy there, or say with ACCEPT={asset.accept} that "
                      "you may have it, and it is downloaded")
        return False

    def from_local(self, assets: list[Asset], folder: Path | None) -> list[Asset]:
        """Copy what a folder has, whatever it is called there; return what it has not."""
        if folder is None:
            return assets
        if not folder.is_dir():
            raise UserError(f"LOCAL={folder} is no folder")
        sizes = {asset.size for asset in assets if asset.sha256}
        files = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size in sizes:
                files.setdefault(path.stat().st_size, []).append(path)
        for asset in assets:
            if found := next((path for path in files.get(asset.size, ()) if sha256(path) == asset.sha256), None):
                self.copy(found, asset)
        return [asset for asset in assets if asset.to not in self.done]

    def copy(self, path: Path, asset: Asset) -> None:
        with disk_room(self.data, REMEDY), aside(self.data / asset.to) as new:
            shutil.copyfile(path, new)
            if not asset.is_at(new):
                raise UserError(f"{path} has changed while it was copied, or the disk of {self.data} is damaged")
        self.finish(asset, f"from {path}")

    def round(self, downloads: list[Unit]) -> None:
        """Do these downloads, WORKERS at a time."""
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            try:
                running = [pool.submit(self.bring, unit) for unit in downloads]
                for future in concurrent.futures.as_completed(running):
                    future.result()
            finally:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
        self.stop.clear()

    def bring(self, unit: Unit) -> None:
        """Download one file or archive and put what it brings into place; problems are noted."""
        if self.stop.is_set():
            raise Stopped
        whom = unit.url if unit.source else unit.assets[0].to
        with disk_room(self.data, REMEDY), hold(lock_of(self.data, whom), self.waiting(whom)):
            assets = [asset
                      for asset in unit.assets if not self.is_there(asset)]  # somebody may have brought them meanwhile
            try:
                if assets and origin(unit.url) in self.silent:
                    raise Refused(self.silent[origin(unit.url)])
                if assets:
                    (self.from_archive if unit.source else self.from_file)(unit, assets)
            except Refused as problem:
                if isinstance(problem, Silent):
                    self.silent[origin(unit.url)] = str(problem)
                for asset in assets:
                    self.note(asset, unit.url, str(problem))

    def waiting(self, whom: str) -> Callable[[str], None]:
        """Return what says once who is waited for, and ends the waiting when the run ends."""
        def wait(owner: str) -> None:
            if self.stop.is_set():
                raise Stopped
            if whom not in self.waited:
                self.waited.add(whom)
                print(f"{shown(whom) if '://' in whom else whom}: {owner} is fetching it; waiting", file=sys.stderr)
        return wait

    def from_file(self, unit: Unit, assets: list[Asset]) -> None:
        [asset] = assets
        place = self.place(asset)
        download = Download(unit.url, place.with_name(f".{place.name}.part"), asset.most, asset.size,
                            bool(asset.sha256), self.stop)
        if download.run() and asset.sha256 and not asset.is_at(download.part):
            download.clear()  # the bytes of an earlier run did not belong to these
            download.run()
        try:
            self.settle(download.part, asset, unit.url)
        finally:
            download.clear()

    def from_archive(self, unit: Unit, assets: list[Asset]) -> None:
        """Download an archive, take all that is wanted from it, and let it go."""
        folder = self.data / ".archives"
        folder.mkdir(parents=True, exist_ok=True)
        download = Download(unit.url, folder / f".{lock_of(self.data, unit.url).name}.part", unit.source["most"],
                            stop=self.stop)
        download.run()
        places = {asset.to: self.place(asset).with_name(f".{Path(asset.to).name}.new") for asset in assets}
        members = {asset.to: member for asset, member in zip(unit.assets, unit.members)}
        try:
            wanted = [archives.Wanted(members[asset.to], places[asset.to], asset.most) for asset in assets]
            problems = archives.take(download.part, wanted)
            for asset in assets:
                if problem := problems.get(members[asset.to]):
                    self.note(asset, unit.url, problem)
                else:
                    self.settle(places[asset.to], asset, unit.url)
        finally:
            download.clear()
            for place in places.values():
                place.unlink(missing_ok=True)

    def settle(self, path: Path, asset: Asset, url: str) -> None:
        """Verify what has come and move it into place, or note what is wrong with it."""
        try:
            self.admit(path, asset, shown(url))
        except UserError as error:
            self.note(asset, url, str(error))
            return
        path.replace(self.place(asset))
        self.finish(asset, f"from {shown(url)}" + ("" if asset.sha256 else f"; its digest is in {asset.lock}"))

    def admit(self, path: Path, asset: Asset, source: str) -> None:
        """Raise UserError unless the file is the asset; the digest of one that has none is recorded if its form fits."""
        if asset.sha256 and not asset.is_at(path):
            raise UserError(f"it carries sha256 {sha256(path)}, not {asset.sha256}")
        if asset.sha256 is None or asset.holds:
            forms.check(path, asset.to, asset.holds)
        if asset.sha256 is None:
            if path.stat().st_size > asset.most:
                raise UserError(f"{asset.to} has {path.stat().st_size} bytes, more than the {asset.most} that the manifest allows")
            record(asset, path, source, self.data)

    def place(self, asset: Asset) -> Path:
        """Return where an asset goes, the folder made."""
        place = self.data / asset.to
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def finish(self, asset: Asset, how: str) -> None:
        self.done.add(asset.to)
        with self.one_line:
            self.tell(f"{self.data / asset.to}: {how}")

    def note(self, asset: Asset, url: str, problem: str) -> None:
        self.problems.setdefault(asset.to, []).append(f"{shown(url)}: {problem}")

    def verdict(self, rest: list[Asset], of: int) -> UserError | Unavailable:
        """Return the error that names the files which are not in place, under their reasons, and what to do."""
        reasons = {}
        for asset in rest:
            reasons.setdefault("; ".join(self.problems.get(asset.to, ["it has no source"])), []).append(asset.to)
        lines = [line for why, names in reasons.items() for line in (f"  {why}:", *(f"    {name}" for name in names))]
        known = sum(1 for asset in rest if asset.sha256)
        remedies = [*(["put a file of the same content anywhere below a folder and run make LOCAL=folder fetch"]
                      if known else []),
                    *([f"put your own copy in its place below {self.data}, and its digest is recorded"]
                      if known < len(rest) else [])]
        error = Unavailable if any(asset.to in self.problems for asset in rest) else UserError
        return error("\n".join([f"{len(rest)} of {of} files are not there", *lines,
                                f"What you can do: {'; '.join(remedies)}"]))
