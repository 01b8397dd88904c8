"""The rooms of the house: who may import what. README.md, "The rooms", draws the same picture."""
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPUKIT = ROOT / "common" / "npukit"
STANDIN = ROOT / "common" / "standin"

GROUND = {"errors", "files", "command"}
ROOMS = {  # module of npukit: (modules it may import, third-party packages it may import)
    "__init__": (set(), set()),
    "__main__": ({"command", "errors", "files", "stage", "ragged", "report", "performance", "assets", "fetch", "bundle", "publish",
                  "stores", "device", "why", "differences", "first_light", "first_light_report", "facts", "cluster",
                  "doctor", "fusions"}, set()),
    "errors": (set(), set()),
    "command": ({"errors"}, {"tqdm"}),
    "files": ({"errors"}, set()),
    "samples": (GROUND, {"numpy"}),
    "stage": ({"errors", "device", "files", "locks"}, set()),
    "device": ({"errors"}, set()),
    "doctor": ({"errors", "device"}, set()),
    "why": (set(), set()),
    "fusions": ({"errors"}, set()),
    "training": (GROUND, {"torch"}),
    "fidelity": ({"errors"}, {"numpy"}),
    "metrics": (set(), set()),
    "gears": (GROUND, {"numpy"}),
    "wordpiece": ({"errors"}, {"tokenizers"}),
    "ragged": (GROUND | {"gears", "samples"}, {"numpy"}),
    "ledger": (GROUND | {"fidelity"}, {"numpy"}),
    "bert": (GROUND | {"ragged", "ledger", "random_weights", "graph"}, {"numpy", "onnx", "torch", "transformers"}),
    "surgery": (GROUND | {"bert", "fusions", "graph", "ledger", "ragged", "samples"}, {"numpy"}),
    "random_weights": ({"errors"}, {"numpy"}),
    "performance": (GROUND, set()),
    "provenance": (GROUND, set()),
    "report": (GROUND | {"fidelity", "performance", "provenance", "samples"}, {"jsonschema"}),
    "lock": (set(), set()),
    "locks": (set(), set()),
    "stores": (GROUND, {"boto3", "botocore"}),
    "sources": (GROUND | {"stores"}, {"botocore", "requests", "urllib3"}),
    "download": (GROUND | {"sources"}, set()),
    "archives": (set(), set()),
    "forms": ({"errors"}, {"h5py", "safetensors"}),
    "assets": (GROUND | {"locks", "report", "sources"}, set()),
    "fetch": (GROUND | {"archives", "assets", "download", "forms", "locks", "sources"}, set()),
    "bundle": (GROUND | {"archives", "assets", "stores"}, set()),
    "publish": (GROUND | {"report", "stores"}, set()),
    "bench": (GROUND, {"numpy"}),
    "differences": (GROUND, set()),
    "tarball": (GROUND, set()),
    "first_light": (GROUND, set()),
    "first_light_report": (GROUND | {"differences", "first_light", "provenance", "report", "tarball"}, {"numpy"}),
    "facts": (GROUND | {"differences", "gears", "tarball"}, set()),
}
OWN_ROOMS = {"npukit", "standin", "ais_bench", "aclruntime"}
SCRIPTS = {"preprocess", "pth2onnx", "modify_onnx", "postprocess"}


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it; `from npukit import files` counts as npukit.files."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" if node.module == "npukit" else node.module for alias in node.names}
    return names


def third_party(names: set[str]) -> set[str]:
    import sys

    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OWN_ROOMS


def library_modules(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("npukit.")}


def test_every_module_of_the_library_has_its_room():
    assert {path.stem for path in NPUKIT.glob("*.py")} == set(ROOMS)


@pytest.mark.parametrize("path", sorted((NPUKIT / "graph").glob("*.py")), ids=lambda path: path.name)
def test_graph_surgery_stays_in_its_room(path):
    names = imported(path)
    inside = {"graph"} if {name for name in library_modules(names)} & {"graph"} else set()
    assert library_modules(names) - inside <= {"errors", "files", "fidelity"}
    assert third_party(names) <= {"numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "onnxsim"}


@pytest.mark.parametrize("path", sorted((NPUKIT / "cluster").glob("*.py")), ids=lambda path: path.name)
def test_the_cluster_needs_nothing_but_python(path):
    names = imported(path)
    assert library_modules(names) <= {"cluster", "errors", "files"} | ({"report"} if path.name == "main.py" else set())
    assert not third_party(names)


@pytest.mark.parametrize("module", ROOMS)
def test_the_library_stays_in_its_rooms(module):
    names = imported(NPUKIT / f"{module}.py")
    rooms, packages = ROOMS[module]
    assert library_modules(names) <= rooms
    assert third_party(names) <= packages
    assert not {name.split(".")[0] for name in names} & (OWN_ROOMS - {"npukit"}), "nobody imports the stand-in"


MODEL_FILES = sorted((ROOT / "models").glob("*/*.py"))


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_models_know_the_library_and_themselves(path):
    names = {name.split(".")[0] for name in imported(path)}
    assert not names & {"standin", "ais_bench", "aclruntime"} or path.name.startswith("test_"), "tools are found on PATH"
    others = {p.stem for p in MODEL_FILES if p.parent != path.parent and not p.stem.startswith("test_")} - SCRIPTS - {"train"}
    assert not names & (others - {p.stem for p in path.parent.glob("*.py")}), "no model imports another"


@pytest.mark.parametrize("path", sorted(STANDIN.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_stand_in_does_not_know_its_judge(path):
    names = {name.split(".")[0] for name in imported(path)}
    assert "npukit" not in names and not names & {"torch", "transformers"}


def test_planted_imports_are_seen(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    import torch\n    from npukit import report\n    from ais_bench.infer import interface\n")
    assert imported(planted) == {"torch", "npukit.report", "ais_bench.infer"}
    assert third_party(imported(planted)) == {"torch"} and library_modules(imported(planted)) == {"report"}


def reached(path: Path) -> set[str]:
    """Return the modules of the library that a script imports, and those that they import."""
    todo, seen = library_modules(imported(path)), set()
    for sibling in imported(path):
        if (path.parent / f"{sibling}.py").exists():
            todo |= reached(path.parent / f"{sibling}.py")
    while todo - seen:
        module = (todo - seen).pop()
        seen.add(module)
        files = [NPUKIT / f"{module}.py"] if (NPUKIT / f"{module}.py").exists() else (NPUKIT / module).glob("*.py")
        for file in files:
            todo |= library_modules(imported(file))
    return seen


@pytest.mark.parametrize("path", [p for p in MODEL_FILES if p.stem in SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_make_knows_every_module_that_a_stage_imports(path):
    """A stage that imports a module which is no prerequisite would not run again when that module changes."""
    rules = (ROOT / "common" / "model.mk").read_text()
    always = re.search(r"^script = .*%\.py,(.*) \$2 \$\(LIBRARY\)\)$", rules, re.M)[1].split()
    listed = re.search(rf"\$\(call script,{path.stem}\.py,([^)]*)\)", rules)[1].split()
    further = re.findall(r"^LIBRARY = (.*)$", (path.parent / "Makefile").read_text(), re.M)
    packages = {"graph"} if "$(graph_modules)" in " ".join(further) else set()
    assert reached(path) <= {*always, *listed, *" ".join(further).split(), *packages}
