"""What every model of the tree has: a page of facts, a README, knobs with a meaning; and how a new one is made."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme import ROOT
from scripts import copied

from npukit.errors import UserError
from npuops import new

MAKEFILES = sorted(ROOT.glob("models/*/Makefile"))


def facts(text: str) -> list[str]:
    """Return the lines of a makefile that are neither blank nor comment."""
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def recipes(text: str) -> list[str]:
    """Return what makes a makefile more than facts: all but assignments, the include, and a refusal of what cannot be."""
    fact = re.compile(r"[A-Za-z]\w* (?:[?+:]?=)(?: .*)?|include \S+|\$\(if .*\$\(error .*")
    return [line for line in facts(text.replace("\\\n", " ")) if not fact.fullmatch(line) or "$(eval" in line]


@pytest.mark.parametrize("path", MAKEFILES, ids=lambda path: path.parent.name)
def test_a_models_makefile_is_a_page_of_facts(path):
    text = path.read_text()
    assert recipes(text) == [] and len(facts(text)) <= 25


def test_recipes_are_seen():
    text = "A = b\nB ?= $(C:%=%)\nD =\n$(if $(A),$(error no))\nall: x\n\techo\n$(OUT)/x: y\nONCE := 1\nC = a \\\n\tb\n"
    assert recipes(text) == ["all: x", "\techo", "$(OUT)/x: y"]


@pytest.mark.parametrize("path", MAKEFILES, ids=lambda path: path.parent.name)
def test_show_tells_every_knob_with_its_meaning(path):
    command = ["make", "--no-print-directory", "-C", ROOT, "ENGINE=none", f"VENV={sys.prefix}",
               f"MODEL={path.parent.name}"]
    done = subprocess.run([*command, "LOOP=7", "show"], capture_output=True, text=True,
                          env={**clean(ROOT), "SEQ_LENS": "32"})
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    declared = re.findall(r"^KNOBS \+?= (.+)$", path.read_text() + (ROOT / "common/model.mk").read_text(), re.M)
    for knob in " ".join(declared).split():
        if knob != "ORACLE" or (path.parent / "oracle.sh").exists():
            assert re.fullmatch(rf"{knob} +.*\S +(default|given|environment) +\S+ .+", rows[knob]), rows[knob]
    assert re.match(r"LOOP +7 +given", rows["LOOP"])
    assert "SEQ_LENS" not in rows or re.match(r"SEQ_LENS +32 +environment", rows["SEQ_LENS"])


@pytest.mark.parametrize("name, origin, said", [
    ("toy", "elmo", "is there already"), ("a-b", "elmo", "small letters"), ("../x", "elmo", "small letters"),
    ("six", "none", "it is one of: elmo toy")])
def test_what_cannot_be_made(tmp_path, name, origin, said):
    for model in ("elmo", "toy"):
        (tmp_path / model).mkdir()
        (tmp_path / model / "Makefile").touch()
    with pytest.raises(UserError, match=said):
        new.make(tmp_path, name, origin)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elmo", "toy"]


@pytest.mark.long
@pytest.mark.parametrize("origin", [path.parent.name for path in MAKEFILES])
def test_a_new_model_passes_at_once_and_touches_nothing_outside(tmp_path, origin):
    """Its modules are called like those of the model that it came from; both are tested in one process."""
    tree = copied(tmp_path / "npukit")
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}
    make = ["make", f"VENV={sys.prefix}", "ENGINE=none", "MODEL=sixth"]
    tests = [sys.executable, "-m", "pytest", "-q", "-c", "common/pyproject.toml", "--rootdir", ".", "models/sixth",
             "-k", "sixth or rooms",
             *(f"common/tests/test_{name}.py" for name in ("models", "rooms", "originals", "docs"))]
    for command in ([*make, f"FROM={origin}", "new"], [*make, "all"], [*make, "lint"], tests):
        done = subprocess.run(command, cwd=tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=clean(tree))
        assert done.returncode == 0, done.stdout
    after = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()
             and not {"out", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", "sixth"} & set(path.parts)}
    assert after == before


def clean(tree: Path) -> dict[str, str]:
    """Return the environment of somebody who has only the tree."""
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    return {**keep, "PYTHONPATH": f"{tree}/common"}
