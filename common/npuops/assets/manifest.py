"""Which corpora and weights the models need: models/<model>/assets.toml, and assets.lock beside it.

    [[file]]
    to = "cluener/dev.json"              below data/
    sha256 = "..."                       of this file, not of an archive that carries it
    size = 285089                        bytes
    licence = "..."
    sources = [                          tried in this order
        { url = "https://...zip", member = "dev.json", most = 1_000_000 },     a member of an archive of at most so many bytes
        { hub = "dslim/bert-large-NER", revision = "95c6...", path = "vocab.txt" },     HF_ENDPOINT, or the hub itself
        { url = "s3://bucket/key" },
    ]
    profile = "released"                 only this profile wants it; every one if it is left out
    accept = "conll2003"                 never downloaded without ACCEPT=conll2003
    holds = ["CNN", "char_embed"]        what must be in it: keys of a JSON object, entries of an HDF5 file
    each = ["00001", "00002"]            one such file for each word, which takes the place of {} in to, member and path
Where sha256 and size cannot be known, `most` stands in their place, a number of bytes; what came first is then recorded in assets.lock
and asked for ever after.
"""
import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from npukit.errors import UserError
from npukit.files import read_json, sha256, write_json
from npuops.assets.sources import SCHEMES, address, shown
from npuops.locks import hold

KEYS = {"to", "sha256", "size", "most", "licence", "sources", "profile", "accept", "holds", "each"}
SOURCE_KEYS = [{"url"}, {"url", "member", "most"}, {"hub", "revision", "path"}]


@dataclass(frozen=True)
class Asset:
    """One file: where it goes below data/, what it is, and where it may come from.

    sha256, size  of the file, from the manifest or from its lock; None where nobody has seen it yet
    most          bytes; nothing longer is taken for it
    lock          the file in which its digest is recorded when it has none
    """

    to: str
    licence: str
    sources: tuple[dict, ...]
    lock: Path
    most: int
    sha256: str | None = None
    size: int | None = None
    profile: str | None = None
    accept: str | None = None
    holds: tuple[str, ...] = ()

    def is_at(self, path: Path) -> bool:
        """Return whether the file is this one; False where its digest is not known."""
        return self.sha256 is not None and path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


def wanted(manifests: Iterable[Path], profile: str | None = None) -> list[Asset]:
    """Return the files that these manifests name, each once, without those that only another profile wants; all for None."""
    found = {}
    for path in manifests:
        for asset in manifest(path):
            other = found.setdefault(asset.to, asset)
            if None not in (asset.sha256, other.sha256) and asset.sha256 != other.sha256:
                raise UserError(f"{path}: {asset.to} has another sha256 than in {other.lock.with_suffix('.toml')}; one place, one file")
            if other.sha256 is None or (other.profile and not asset.profile):
                found[asset.to] = replace(asset, sha256=asset.sha256 or other.sha256, size=asset.size or other.size)
    return [asset for asset in found.values() if profile is None or asset.profile in (None, profile)]


def manifest(path: Path) -> list[Asset]:
    """Return the files that an assets.toml names, with the digests that its lock adds."""
    try:
        with open(path, "rb") as file:
            entries = tomllib.load(file).get("file", [])
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    lock = path.with_suffix(".lock")
    locked = recorded(lock)
    assets = []
    for entry in entries:
        check(entry, path)
        for word in entry.get("each", [""]):
            asset = filled(entry, word, lock)
            known = locked.get(asset.to) if asset.sha256 is None else None
            assets.append(replace(asset, sha256=known["sha256"], size=known["size"]) if known else asset)
    return assets


def check(entry: dict, path: Path) -> None:
    """Raise UserError, naming the file and what is wrong, for an entry that is not as the head of this module says."""
    def refuse(reason: str):
        raise UserError(f"{path}: {entry.get('to', 'a [[file]]')}: {reason}")

    if unknown := sorted(set(entry) - KEYS):
        refuse(f"no key is called {', '.join(unknown)}")
    if missing := sorted({"to", "licence", "sources"} - set(entry)):
        refuse(f"it has no {', '.join(missing)}")
    if "sha256" in entry and not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
        refuse("sha256 is 64 hexadecimal digits")
    sizes = {"sha256", "size", "most"} & set(entry)
    if sizes not in ({"sha256", "size"}, {"most"}):
        refuse("it has either sha256 and size, or, where these cannot be known, most")
    if not is_inside(entry["to"]):
        refuse("to leaves data/")
    for source in entry["sources"]:
        if set(source) not in SOURCE_KEYS or ("url" in source and urlsplit(source["url"]).scheme not in SCHEMES):
            refuse("a source is url, or url with member and most, or hub with revision and path; see npukit/assets.py")


def is_inside(to: str) -> bool:
    """Return whether a path stays below the folder that it is put below, in no hidden place."""
    parts = PurePosixPath(to).parts
    return bool(parts) and "\\" not in to and not any(part.startswith((".", "/")) for part in parts)


def filled(entry: dict, word: str, lock: Path) -> Asset:
    """Return the asset of an entry, with the word in the place of {}."""
    sources = tuple({key: value.replace("{}", word) if key in ("member", "path") else value
                     for key, value in source.items()}
                    for source in entry["sources"])
    return Asset(entry["to"].replace("{}", word), entry["licence"], sources, lock, entry.get("size", entry.get("most")),
                 entry.get("sha256"), entry.get("size"), entry.get("profile"), entry.get("accept"),
                 tuple(entry.get("holds", ())))


def recorded(lock: Path) -> dict[str, dict]:
    """Return what a lock file holds: {to: {sha256, size, source}}."""
    if not lock.exists():
        return {}
    entries = read_json(lock)
    fits = isinstance(entries, dict) and all(isinstance(e, dict) and re.fullmatch("[0-9a-f]{64}", str(e.get("sha256")))
                                             and isinstance(e.get("size"), int) for e in entries.values())
    if not fits:
        raise UserError(f"{lock} is not as fetch writes it; take back what was changed in it")
    return entries


def record(asset: Asset, path: Path, source: str, data: Path) -> Asset:
    """Write the digest of the file at `path` to the asset's lock; return the asset with it.

    raises  UserError where the lock has come to know another digest meanwhile
    """
    with hold(lock_of(data, str(asset.lock.resolve()))):
        entries = recorded(asset.lock)
        seen = {"sha256": sha256(path), "size": path.stat().st_size, "source": source}
        if entries.setdefault(asset.to, seen)["sha256"] != seen["sha256"]:
            raise UserError(f"{asset.to}: sha256 {seen['sha256']}, not {entries[asset.to]['sha256']} as recorded in {asset.lock}")
        write_json(asset.lock, dict(sorted(entries.items())))
    return replace(asset, sha256=seen["sha256"], size=seen["size"])


def lock_of(data: Path, name: str) -> Path:
    """Return the lock, below data/, under which something of this name is fetched or written."""
    return data / ".locks" / hashlib.sha256(name.encode()).hexdigest()[:24]


def listing(manifests: Iterable[Path], data: Path, profile: str | None) -> str:
    """Return the table of what is there, what is missing, sizes, licences and sources; there means: with the digest that is known."""
    from npukit.columns import columns

    rows, missing = [("file", "bytes", "state", "profile", "licence", "source")], []
    for asset in wanted(manifests, profile):
        found = state(asset, data / asset.to)
        if found != "there":
            missing.append(asset)
        rows.append((asset.to, str(asset.size or f"<= {asset.most}"), found, asset.profile or "", asset.licence,
                     places(asset)))
    return f"{columns(rows)}\n{len(missing)} of {len(rows) - 1} to fetch, {room(missing) / 1e6:.1f} MB at most, archives included"


def room(assets: list[Asset]) -> int:
    """Return the bytes that these files may take, and the archives that carry them while they are unpacked."""
    archives = {source["url"]: source["most"] for asset in assets for source in asset.sources[:1] if "member" in source}
    return sum(asset.most for asset in assets) + sum(archives.values())


def state(asset: Asset, place: Path) -> str:
    if asset.is_at(place):
        return "there"
    if place.exists():
        return "another file" if asset.sha256 else "there, not recorded"
    return f"missing, ACCEPT={asset.accept}" if asset.accept else "missing" if asset.sha256 else "missing, to record"


def places(asset: Asset) -> str:
    """Return the hosts that an asset comes from."""
    return ", ".join(dict.fromkeys(urlsplit(shown(address(source))).netloc or "a folder"
                                   for source in asset.sources)) or "your own copy"
