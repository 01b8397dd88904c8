"""What a stage has read, as prerequisites that make includes: the depfile of compilers (`cc -MMD -MP`), for Python.

While the stage's command runs, every Python process below it notes what it opens (audit/sitecustomize.py), and every
bash its script (audit/bash_env.sh). What counts are files of the project (common/, models/), of DATA, and those at or
below a path that the command was given. Results of other stages do not count: model.mk has the order of stages. Paths
are written with make's variables, so that a checkout that was moved, or a container where places have other names,
takes the stage as it is.
"""
import contextlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

AUDIT = Path(__file__).with_name("audit")
FRAGMENT = "reads.mk"
VARIABLES = {"out/": "$(OUT_ROOT)/", "data/": "$(DATA)/", "": "$(root)/"}  # of the names that model.mk gives to places
PROJECT = ("$(root)/common/", "$(root)/models/")


def environment(notes: Path) -> dict[str, str]:
    """Return the environment in which a command's processes note what they read."""
    path = os.pathsep.join(filter(None, [str(AUDIT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "NPUKIT_NOTES": str(notes), "NPUKIT_BASH_ENV": os.environ.get("BASH_ENV", ""),
            "BASH_ENV": str(AUDIT / "bash_env.sh")}


def write(notes: Path, command: list[str], target: Path, places: dict[str, str], folder: Path) -> None:
    """Write folder/reads.mk: the target's prerequisites, and an empty rule for each, so that one that is gone makes the target stale.

    notes   what the processes noted; it is removed
    target  the file that make looks at, below the stage's final folder
    places  folders and what they are called in a stage's key
    """
    noted = notes.read_text(errors="surrogateescape").splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    names = sorted({name for path in noted if (name := prerequisite(path, command, places))})
    present = [name for name in names if not name.startswith("$(wildcard ")]
    lines = [" \\\n ".join([f"{named(str(target), places)}:", *names]), *(f"{name}:" for name in present)]
    (folder / FRAGMENT).write_text("\n".join(lines) + "\n", errors="surrogateescape")


def prerequisite(path: str, command: Iterable[str], places: dict[str, str]) -> str | None:
    """Return what make has to look at for this path, None where it counts for nothing.

    A compiled module is its source. A file that was looked for and is not there counts as soon as it appears.
    """
    path = os.path.normpath(path)
    if path.endswith(".pyc"):
        with contextlib.suppress(ValueError):
            path = importlib.util.source_from_cache(path)
    name = named(path, places)
    if name.startswith("$(OUT_ROOT)/"):
        return None
    listed = os.path.isdir(path)
    if name.startswith(PROJECT):
        if listed or "/__pycache__" in name:
            return None  # the import system lists folders to find modules
    elif not name.startswith("$(DATA)/") and not any(path == given or path.startswith(f"{given}/")
                                                     for given in own_paths(command, places)):
        return None
    return escaped(name) if listed or os.path.exists(path) else f"$(wildcard {escaped(name)})"


def own_paths(command: Iterable[str], places: dict[str, str]) -> Iterator[str]:
    """Yield the paths in a command that lie in none of the places: what a user names by CORPUS= or CHECKPOINT=."""
    for argument in command:
        for word in re.split("[=,]", argument):
            if word.startswith("/") and word.strip("/") and named(word, places) == word:
                yield word.rstrip("/")


def named(path: str, places: dict[str, str]) -> str:
    """Return a path with make's variable for the place that it lies in; first come, first served, as in model.mk."""
    for place, name in places.items():
        if path.startswith(place):
            return VARIABLES.get(name, "$(VENV)/") + path[len(place):]
    return path


def escaped(name: str) -> str:
    """Return a name as make wants it in a rule; of dollars those of our own variables stay."""
    variable = re.match(r"\$\(\w+\)", name)
    end = variable.end() if variable else 0
    return name[:end] + re.sub(r"([\s#%:*?\[\]~\\])", r"\\\1", name[end:]).replace("$", "$$")
