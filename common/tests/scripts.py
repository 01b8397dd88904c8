"""A model's scripts, for its tests, and the environment in which they are called."""
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

COMMON = Path(__file__).parents[1]


def load(path: Path) -> ModuleType:
    """Import a script under a name of its own: every model has a preprocess.py."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(**more: str) -> dict[str, str]:
    """Return this process' environment with this checkout's library and the stand-in in front, as model.mk sets it."""
    standin = COMMON / "standin"
    path = [str(Path(sys.executable).parent), str(standin / "bin"), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join([str(standin), str(COMMON)]),
            **more}


class Scripts:
    """A model's scripts as its tests call them; in a line $here is the model's folder and $tiny its tiny corpus."""

    def __init__(self, here: Path, *names: str):
        self.places = {"here": str(here), "tiny": str(COMMON.parent / "data" / "tiny" / here.name)}
        self.modules = {Path(name).name: load(here / f"{name}.py") for name in names}

    def __getitem__(self, name: str) -> ModuleType:
        return self.modules[name]

    def call(self, folder: Path, line: str) -> None:
        """Run "script flags" in this process, which has PyTorch loaded; a failure is an exception."""
        name, *flags = line.replace("$tiny", self.places["tiny"]).split()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", [f"{name}.py", *flags])
            self[name].main()

    def run(self, folder: Path, line: str) -> subprocess.CompletedProcess:
        """Run a bash line in the folder, on one thread."""
        return subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=folder, capture_output=True, text=True,
                              env={**environment(OMP_NUM_THREADS="1"), **self.places})

    def ran(self, folder: Path, line: str) -> str:
        """Run a bash line that has to succeed; return what it prints."""
        done = self.run(folder, line)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def copied(place: Path) -> Path:
    """Copy what git tracks, or would, to a folder, with its times; return the folder."""
    listed = subprocess.run(["git", "-C", COMMON.parent, "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard"],
                            capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (COMMON.parent / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(COMMON.parent / name, place / name)
    return place
