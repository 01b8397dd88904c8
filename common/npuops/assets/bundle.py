"""Assets in one file, to carry where there is no network: a tar of an index and the files under their places below data/."""
import io
import json
import re
import tarfile
import tempfile
from pathlib import Path

from npukit.command import byte_progress
from npukit.errors import UserError
from npukit.files import aside, disk_room, require_room, sha256
from npuops.assets.archives import Wanted, take
from npuops.assets.manifest import Asset, is_inside, record

INDEX = "npukit-bundle.json"
INDEX_MOST = 16 << 20  # bytes
REMEDY = "make room, or name another place"


def pack(wanted: list[Asset], data: Path, bundle: Path) -> list[str]:
    """Write a bundle of assets that are all there, and read it back; return a line that tells of it.

    What is bound to a licence and not there is left out, as fetch leaves it out, and told of.
    raises  UserError, naming what is missing or not verified
    """
    left_out = [asset for asset in wanted if asset.accept and not (data / asset.to).exists()]
    wanted = [asset for asset in wanted if asset not in left_out]
    if missing := [asset.to for asset in wanted if not asset.is_at(data / asset.to)]:
        raise UserError(f"{data} does not have {', '.join(missing)}, or not as recorded; make fetch brings and records them")
    index = {"schema": 1,
             "files": [{"to": a.to, "sha256": a.sha256, "size": a.size, "licence": a.licence} for a in wanted]}
    content = json.dumps(index, indent=1).encode()
    require_room(bundle.parent, sum(asset.size for asset in wanted), REMEDY)
    with disk_room(bundle.parent, REMEDY), aside(bundle) as new:
        with tarfile.open(new, "w") as tar, byte_progress(bundle.name, sum(asset.size for asset in wanted)) as bar:
            tar.addfile(entry(INDEX, len(content)), io.BytesIO(content))
            for asset in wanted:
                with open(data / asset.to, "rb") as file:
                    tar.addfile(entry(asset.to, asset.size), file)
                bar.update(asset.size)
        verify(new, index["files"])
    told = [f"{data / asset.to}: not there, left out: {asset.licence}" for asset in left_out]
    return [*told, f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB, read back and verified"]


def entry(name: str, size: int) -> tarfile.TarInfo:
    """Return a member that says nothing of who packed it, or when: equal assets make equal bundles."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def verify(bundle: Path, files: list[dict]) -> None:
    """Read a bundle that has just been written; raise UserError where the disk has it otherwise."""
    from npuops.assets.stores import PIECE, digest

    with tarfile.open(bundle, "r:") as tar:
        for file in files:
            content = tar.extractfile(file["to"])
            found, _ = digest(iter(lambda content=content: content.read(PIECE), b""))
            if found != file["sha256"]:
                raise UserError(f"{bundle}: {file['to']} reads back with sha256 {found}, not {file['sha256']}: the disk is damaged")


def unpack(bundle: Path, assets: list[Asset], data: Path) -> list[str]:
    """Put what a bundle holds into place below data/ and return a line a file; nothing is touched that is not verified.

    assets  of every model: a bundle brings nothing else, and where its digest is known, nothing with another. A digest that is not
            known here is the bundle's, and recorded
    """
    files = read_index(bundle)
    known = {asset.to: asset for asset in assets}
    for file in files:
        refuse_stranger(bundle, file, known.get(file["to"]))
    wanted = {file["to"]: file for file in files if not is_whole(file, data / file["to"])}
    require_room(data, sum(file["size"] for file in wanted.values()), REMEDY)
    places = {to: (data / to).with_name(f".{Path(to).name}.new") for to in wanted}
    try:
        for place in places.values():
            place.parent.mkdir(parents=True, exist_ok=True)
        with disk_room(data, REMEDY):
            problems = take(bundle, [Wanted(to, places[to], wanted[to]["size"]) for to in wanted])
        for to in wanted:
            if problems.get(to) or not is_whole(wanted[to], places[to]):
                raise UserError(f"{bundle}: {problems.get(to) or f'{to} is not what the index says'}; carry it over again")
        for to in wanted:
            places[to].replace(data / to)
    finally:
        for place in places.values():
            place.unlink(missing_ok=True)
    for file in files:
        if known[file["to"]].sha256 is None:
            record(known[file["to"]], data / file["to"], f"the bundle {bundle.name}", data)
    return [f"{data / file['to']}: {'from the bundle' if file['to'] in wanted else 'there'}" for file in files]


def is_whole(file: dict, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == file["size"] and sha256(path) == file["sha256"]


def read_index(bundle: Path) -> list[dict]:
    """Return what a bundle says it holds: [{to, sha256, size, licence}]."""
    if not bundle.is_file():
        raise UserError(f"there is no bundle {bundle}; make bundle writes one, BUNDLE= names it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, INDEX)
        problem = take(bundle, [Wanted(INDEX, path, INDEX_MOST)]).get(INDEX)
        try:
            files = [] if problem else json.loads(path.read_text(encoding="utf-8"))["files"]
            fits = all(is_inside(f["to"]) and f["size"] >= 0 and re.fullmatch("[0-9a-f]{64}", f["sha256"])
                       for f in files)
        except (ValueError, KeyError, TypeError, RecursionError):
            fits = False
    if problem or not fits:
        raise UserError(f"{bundle} is no whole bundle of npukit's{f' ({problem})' if problem else ''}; carry it over again")
    return files


def refuse_stranger(bundle: Path, file: dict, asset: Asset | None) -> None:
    """Raise UserError for a file that no model here asks for, or asks for with another content."""
    if asset is None:
        raise UserError(f"{bundle}: no assets.toml here knows {file['to']}; is it a bundle of another version of npukit?")
    if asset.sha256 and asset.sha256 != file["sha256"]:
        raise UserError(f"{bundle}: {file['to']} has sha256 {file['sha256']}; {asset.lock.with_suffix('.toml')} or its lock "
                        f"says {asset.sha256}")
    if file["size"] > asset.most:
        raise UserError(f"{bundle}: {file['to']} has {file['size']} bytes, more than the {asset.most} that the manifest allows")
