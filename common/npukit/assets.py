"""Corpora by digest: models/<model>/assets.toml says what is needed, where it goes and where it comes from.

    [[file]]
    to = "cluener/dev.json"              below data/
    sha256 = "..."                       of this file, not of an archive that carries it
    size = 285089                        bytes
    licence = "..."
    sources = [{ url = "https://...zip", member = "dev.json" }]
    profile = "released"                 only this profile wants it; every one if it is left out
    accept = "conll2003"                 bound to terms: never downloaded without ACCEPT=conll2003
    most = 1_000_000                     bytes that it may have, where sha256 and size are not known
A file whose sha256 is not known yet has none; it is named with its source, and never fetched unverified, but for one that the user
accepts.
"""
import shutil
import tomllib
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from npukit.command import progress
from npukit.errors import Unavailable, UserError
from npukit.files import aside, sha256


@dataclass(frozen=True)
class Asset:
    """One file: where it goes below data/, what it is, and where it may come from."""

    to: str
    sha256: str
    size: int
    licence: str
    sources: tuple[dict, ...]
    profile: str | None = None
    accept: str | None = None


def manifest(path: Path) -> list[Asset]:
    """Return the files that an assets.toml names."""
    try:
        with open(path, "rb") as file:
            entries = tomllib.load(file).get("file", [])
        assets = [Asset(e["to"], e.get("sha256", ""), e.get("size", e.get("most", 0)), e["licence"], tuple(e.get("sources", ())),
                        e.get("profile"), e.get("accept")) for e in entries]
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]} in one of its [[file]] entries") from None
    for asset in assets:
        if Path(asset.to).is_absolute() or ".." in Path(asset.to).parts:
            raise UserError(f"{path}: to = \"{asset.to}\" leaves data/")
    return assets


def fetch(assets: list[Asset], data: Path, local: Path | None, profile: str = "tiny", accepted: Collection[str] = ()) -> list[str]:
    """Bring every file of a profile to its place, from a local folder (by digest alone) or from its sources; say what was done.

    accepted  the words with which the user accepts terms; what is bound to others is not fetched, only named with its place
    raises  UserError for a file without a digest that is not there; Unavailable, naming file and remedy, where a file can be had
            nowhere or its digest is another
    """
    done = []
    for asset in assets:
        place = data / asset.to
        if asset.profile not in (None, profile):
            continue
        if asset.accept and not place.exists():
            done.append(f"{place}: {fetch_accepted(asset, place, accepted)}")
            continue
        if not asset.sha256:
            if not place.exists():
                urls = ", ".join(source["url"] for source in asset.sources)
                raise UserError(f"{place} has no known sha256 and is not fetched unverified; put it there yourself, from {urls}")
            done.append(f"{place}: there, not verified (no sha256 is known)")
            continue
        if is_whole(place, asset):
            done.append(f"{place}: there")
            continue
        found = find_local(asset, local) if local else None
        if found:
            with aside(place) as new:
                shutil.copyfile(found, new)
            done.append(f"{place}: from {found}")
        else:
            done.append(f"{place}: from {download(asset, place)}")
    return done


def fetch_accepted(asset: Asset, place: Path, accepted: Collection[str]) -> str:
    """Download a file that is bound to terms, if the user accepts them; return what was done, or what he can do."""
    if asset.accept not in accepted:
        return (f"not there, and not fetched: {asset.licence}. Put your own copy there, or, if you accept these terms, run "
                f"make ACCEPT={asset.accept} fetch; it takes {asset.sources[0]['url']}")
    return f"from {download(asset, place)}, not verified (no sha256 is known); it is {sha256(place)}"


def is_whole(path: Path, asset: Asset) -> bool:
    return path.is_file() and path.stat().st_size == asset.size and sha256(path) == asset.sha256


def find_local(asset: Asset, folder: Path) -> Path | None:
    """Return a file below the folder that has the asset's size and digest, whatever its name."""
    if not folder.is_dir():
        raise UserError(f"LOCAL={folder} is no folder")
    return next((path for path in sorted(folder.rglob("*")) if is_whole(path, asset)), None)


def download(asset: Asset, place: Path) -> str:
    """Fetch the first source that answers, check the digest, move it into place; return its URL."""
    import requests

    problems = []
    for source in asset.sources:
        try:
            with aside(place) as new:
                save(source["url"], new)
                if "member" in source:
                    take_member(new, source["member"], asset)
                if not asset.sha256 and new.stat().st_size > asset.size:
                    raise UserError(f"{source['url']} carries more than {asset.size} bytes")
                if asset.sha256 and not is_whole(new, asset):
                    raise UserError(f"{source['url']} carries sha256 {sha256(new)}, not {asset.sha256}")
            return source["url"]
        except (requests.RequestException, UserError) as error:
            problems.append(f"{source['url']}: {error}")
    reasons = "; ".join(problems) or "it has no source"
    raise Unavailable(f"{place} cannot be fetched ({reasons}). Put it anywhere below a folder and run make LOCAL=folder fetch")


def save(url: str, path: Path) -> None:
    """Stream a URL to a file."""
    import requests

    with requests.get(url, stream=True, timeout=30) as answer, open(path, "wb") as file:
        answer.raise_for_status()
        for piece in progress(answer.iter_content(1 << 20), url.rsplit("/", 1)[-1], unit="MiB"):
            file.write(piece)


def take_member(archive: Path, member: str, asset: Asset) -> None:
    """Replace a zip archive by one of its members, read no further than the asset's size."""
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as source:
            content = source.read(asset.size + 1)
    except KeyError:
        raise UserError(f"no member {member} in the archive") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: encrypted
        raise UserError(f"not a whole zip archive: {error}") from None
    archive.write_bytes(content)
