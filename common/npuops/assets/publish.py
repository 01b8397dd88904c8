"""Results out to a folder or an object store, so that a reader sees a run whole or not at all; and read back, every byte verified.

    <destination>/<model>/<chip>/<profile>/bs<N>/<run>/...          report, predictions, logs, .om files
    <destination>/<model>/<chip>/<profile>/bs<N>/<run>/index.json   written last: who reads, begins here

A run is called after the time at which its first stage began and the digest of its report: the same run always has the same place.
"""
import datetime
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from npukit.errors import JobFailed, UserError
from npukit.files import sha256, write_json
from npukit.judge import report
from npuops.assets.stores import Bucket, Folder, digest

INDEX = "index.json"
KEPT = ("postprocess/*", "*/log.txt", "*/*.json",
        "*/*.om")  # of a run's stages; not what goes in and comes out of the device
SHARED = ("inputs/log.txt", "inputs/record.json", "pth2onnx/log.txt",
          "pth2onnx/*.json")  # of the stages that all batch sizes share


def publish(run: Path, store: Folder | Bucket) -> str:
    """Publish one run, out/<chip>/<profile>/<model>/bs<N>; return a line that tells where it is and what was sent.

    Running it again sends only what is not there; a run that was broken off is completed.
    raises  UserError where the run has no report; JobFailed where it was changed meanwhile
    """
    path = run / "postprocess" / "report.json"
    if not path.exists():
        raise UserError(f"{run} has no report yet; run make all first")
    [made] = report.read([path])
    files = kept(run)
    entries = {name: {"path": name, "size": file.stat().st_size, "sha256": sha256(file)}
               for name, file in files.items()}
    place = "/".join((made["model"], report.chip(made), made["profile"], f"bs{made['batch_size']}",
                      name_of(made, entries["postprocess/report.json"]["sha256"])))
    sent = sum(store.put(file, f"{place}/{name}", entries[name]["sha256"]) for name, file in files.items())
    if changed := [name
                   for name, file in files.items() if not file.exists() or sha256(file) != entries[name]["sha256"]]:
        raise JobFailed(f"{run} was changed while it was published ({', '.join(changed)}); publish it again")
    index = {"schema": 1, "model": made["model"], "chip": report.chip(made), "profile": made["profile"],
             "batch_size": made["batch_size"],
             "run": place.rpartition("/")[2], "passes": made["passes"], "files": list(entries.values())}
    sent += put_index(index, store, f"{place}/{INDEX}")
    return f"{store}/{place}: {f'{sent} of {len(files) + 1} files sent' if sent else 'there'}"


def put_index(index: dict, store: Folder | Bucket, key: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, INDEX)
        write_json(path, index)
        return store.put(path, key, sha256(path))


def kept(run: Path) -> dict[str, Path]:
    """Return the files of a run that are published, by their path in it; failed and unfinished stages are none."""
    found = [*(file for pattern in KEPT for file in run.glob(pattern)),
             *(file for pattern in SHARED for file in run.parent.glob(pattern))]
    files = {f"{file.parent.name}/{file.name}": file for file in found
             if file.is_file() and not file.parent.name.endswith(".failed") and not file.parent.name.startswith(".")}
    return dict(sorted(files.items()))


def name_of(made: dict, sha256: str) -> str:
    """Return a run's name, 20260131T120000Z-1a2b3c4d."""
    started = made["provenance"]["started"]
    when = datetime.datetime.fromisoformat(started).astimezone(datetime.UTC) if started else None
    return f"{when:%Y%m%dT%H%M%SZ}-{sha256[:8]}" if when else sha256[:8]


def verify(store: Folder | Bucket, tell: Callable[[str], None] = print) -> None:
    """Read every published run back, file by file, and compare it with its index; a line a run.

    raises  UserError where there is no run; JobFailed, naming each file that is not as its index says
    """
    indexes = store.keys(INDEX)
    if not indexes:
        raise UserError(f"no run is published at {store}; make publish DEST=... does")
    problems = []
    for key in indexes:
        found = check(store, key)
        problems += found
        tell(f"{store}/{key.removesuffix(f'/{INDEX}')}: {f'{len(found)} of its files are not as published' if found else 'verified'}")
    if problems:
        raise JobFailed("\n".join([f"{store} is not whole:", *problems, "publish these runs again"]))


def check(store: Folder | Bucket, key: str) -> list[str]:
    """Return what is wrong with one published run."""
    try:
        index = json.loads(b"".join(store.pieces(key)))
        entries = [(entry["path"], entry["sha256"], entry["size"]) for entry in index["files"]]
    except (ValueError, KeyError, TypeError):
        return [f"{key} is no index"]
    return [problem
            for entry in entries if (problem := differs(store, f"{key.removesuffix(INDEX)}{entry[0]}", *entry[1:]))]


def differs(store: Folder | Bucket, key: str, expected: str, size: int) -> str | None:
    try:
        found, length = digest(store.pieces(key))
    except FileNotFoundError:
        return f"{key} is missing"
    if (found, length) != (expected, size):
        return f"{key} has {length} bytes and sha256 {found}, not {size} and {expected}"
    return None
