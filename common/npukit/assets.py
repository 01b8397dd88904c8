"""Corpora by digest: models/<model>/assets.toml says what is needed, where it goes and where it comes from.

    [[file]]
    to = "cluener/dev.json"              below data/
    sha256 = "..."                       of this file, not of an archive that carries it
    size = 285089                        bytes
    licence = "..."
    sources = [{ url = "https://...zip", member = "dev.json" }]
"""
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from npukit.command import progress
from npukit.errors import Unavailable, UserError
from npukit.files import aside, sha256

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


@dataclass(frozen=True)
class Asset:
    """One file: where it goes below data/, what it is, and where it may come from."""

    to: str
    sha256: str
    size: int
    licence: str
    sources: tuple[dict, ...]


def manifest(path: Path) -> list[Asset]:
    """Return the files that an assets.toml names."""
    with open(path, "rb") as file:
        entries = tomllib.load(file).get("file", [])
    assets = [Asset(e["to"], e["sha256"], e["size"], e["licence"], tuple(e.get("sources", ()))) for e in entries]
    for asset in assets:
        if Path(asset.to).is_absolute() or ".." in Path(asset.to).parts:
            raise UserError(f"{path}: to = \"{asset.to}\" leaves data/")
    return assets


def fetch(assets: list[Asset], data: Path, local: Path | None) -> list[str]:
    """Bring every file to its place, from a local folder (by digest alone) or from its sources; say what was done.

    raises  UserError, naming file and remedy, where a file can be had nowhere or its digest is another
    """
    done = []
    for asset in assets:
        place = data / asset.to
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
                if not is_whole(new, asset):
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
    taken = archive.with_name(f"{archive.name}.member")
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as source, open(taken, "wb") as target:
            target.write(source.read(asset.size + 1))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"no member {member} in the archive: {error}") from None
    taken.replace(archive)
