"""The rooms of the house: models import npukit, makefiles call npuops, npuops may use npukit; nobody imports the stand-in."""
import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMON = ROOT / "common"
STANDIN = COMMON / "standin"

WINGS = {  # a folder, or the files of one: (what it may import of this project, third-party packages it may import)
    "npukit": ({"npukit"}, {"h5py", "rich", "safetensors", "tqdm"}),
    "npukit/corpus": ({"npukit", "npukit/corpus"}, {"numpy", "tokenizers"}),
    "npukit/graph": ({"npukit", "npukit/graph", "npukit/judge"},
                     {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "onnxsim"}),
    "npukit/judge": ({"npukit", "npukit/corpus", "npukit/judge"}, {"jsonschema", "numpy"}),
    "npukit/nets": ({"npukit", "npukit/corpus", "npukit/graph", "npukit/judge", "npukit/nets"},
                    {"numpy", "onnx", "torch", "transformers"}),
    "npuops/stage/audit": (set(), set()),
    "npuops/stage": ({"npukit", "npuops", "npuops/stage"}, set()),
    "npuops/assets": ({"npukit", "npukit/judge", "npuops", "npuops/assets"},
                      {"boto3", "botocore", "requests", "urllib3"}),
    "npuops/cluster": ({"npukit", "npukit/judge", "npuops", "npuops/cluster"}, {"jinja2", "yaml"}),
    "npuops/light": ({"npukit", "npukit/corpus", "npukit/judge", "npuops", "npuops/light"}, {"numpy"}),
    "npuops": ({"npukit", "npukit/judge", "npukit/nets", "npuops"}, set()),
}
OWN_ROOMS = {"npukit", "npuops", "standin", "ais_bench", "aclruntime"}
SCRIPTS = {"preprocess", "pth2onnx", "modify_onnx", "postprocess"}
FILES = [(wing, path) for wing in WINGS for path in sorted((COMMON / wing).glob("*.py"))]


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it; of this project's modules, not of what is in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if module_of(name) else node.module for name in below}
    return names


def module_of(name: str) -> Path | None:
    """Return the file of one of this project's modules, None for any other name."""
    place = COMMON / name.replace(".", "/")
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


def wings(names: set[str]) -> set[str]:
    """Return the wings that these modules lie in."""
    ours = [module_of(name) for name in names if name.split(".")[0] in ("npukit", "npuops")]
    return {str(path.parent.relative_to(COMMON)) for path in ours if path}


def third_party(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OWN_ROOMS


def test_every_folder_of_the_library_is_a_wing():
    assert {str(path.parent.relative_to(COMMON)) for house in ("npukit", "npuops")
            for path in (COMMON / house).rglob("*.py")} == set(WINGS)


@pytest.mark.parametrize("wing, path", FILES, ids=lambda value: str(value).removeprefix(f"{COMMON}/"))
def test_the_library_stays_in_its_rooms(wing, path):
    names = imported(path)
    rooms, packages = WINGS[wing]
    if path.name == "__main__.py":  # a command line leads to every room of its house
        rooms = {room for room in WINGS if wing == "npuops" or room.startswith("npukit")}
    assert wings(names) <= rooms and third_party(names) <= packages
    assert not {name.split(".")[0]
                for name in names} & {"standin", "ais_bench", "aclruntime"}, "nobody imports the stand-in"


@pytest.mark.parametrize("wing", [wing for wing in WINGS if (COMMON / wing / "__init__.py").exists()])
def test_a_wing_lists_its_rooms(wing):
    listed = ast.get_docstring(ast.parse((COMMON / wing / "__init__.py").read_text()))
    rooms = {path.stem for path in (COMMON / wing).glob("*.py")} | {path.parent.name
                                                                    for path in (COMMON / wing).glob("*/__init__.py")}
    assert not [room for room in rooms - {"__init__", "__main__"} if room not in listed]


MODEL_FILES = sorted((ROOT / "models").glob("*/*.py"))


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_models_know_the_library_and_themselves(path):
    names = {name.split(".")[0] for name in imported(path)}
    if not path.name.startswith("test_"):
        assert not names & {"npuops", "standin", "ais_bench",
                            "aclruntime"}, "makefiles call npuops, tools are found on PATH"
    others = {p.stem
              for p in MODEL_FILES if p.parent != path.parent and not p.stem.startswith("test_")} - SCRIPTS - {"train"}
    assert not names & (others - {p.stem for p in path.parent.glob("*.py")}), "no model imports another"


@pytest.mark.parametrize("path", sorted(STANDIN.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_stand_in_does_not_know_its_judge(path):
    names = {name.split(".")[0] for name in imported(path)}
    assert not names & {"npukit", "npuops"} and not names & {"torch", "transformers"}


def test_planted_imports_are_seen(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    import torch\n    from npukit.judge import report\n    from npukit.errors import UserError\n"
                       "    from ais_bench.infer import interface\n")
    assert imported(planted) == {"torch", "npukit.judge.report", "npukit.errors", "ais_bench.infer"}
    assert third_party(imported(planted)) == {"torch"} and wings(imported(planted)) == {"npukit/judge", "npukit"}


HOST = "import sys; sys.modules.update(dict.fromkeys({packages!r})); sys.argv = ['npuops', *{words!r}]; import runpy; " \
       "runpy.run_module('npuops', run_name='__main__')"


@pytest.mark.parametrize("words", [["doctor"], ["why", "out"], ["soc"], ["idle", "0"], ["cluster", "check"]],
                         ids=" ".join)
def test_a_host_needs_nothing_but_python(words, tmp_path):
    """As on a login node: none of what the project installs can be imported."""
    packages = sorted({name for _, names in WINGS.values() for name in names} | {"torch", "rich", "tqdm"})
    environment = {**os.environ, "PYTHONPATH": str(COMMON), "CLUSTER": "slurm", "OUT_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", HOST.format(packages=packages, words=words)], cwd=tmp_path,
                          capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=environment)
    assert "ImportError" not in done.stderr and "ModuleNotFoundError" not in done.stderr
