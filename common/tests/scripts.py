"""A model's scripts, for its tests, and the environment in which they are called."""
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

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
    return {**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join([str(standin), str(COMMON)]), **more}
