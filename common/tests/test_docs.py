"""Every command of every README runs. A block's language says how:

    sh               as it is, in a fresh copy of the repository
    sh corpus        where the released corpora are, else skipped with that reason
    sh npu           with STANDIN=1 behind each make: all but the chip
    sh light         make -n with STANDIN=1 behind each make: what takes a chip and an hour
    sh hours         make -n: the commands are there
    sh cluster       make -n: it runs where a scheduler is
    sh needs ...     make -n is answered in one sentence: what it needs is the reader's own
Anything else in a fence is not a command.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import released_corpora
from readme import ROOT, Block, blocks

READMES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("models/*/*.md"), *ROOT.glob("common/*/*.md")]
                 if not {"out", ".venv"} & set(path.relative_to(ROOT).parts))
SHELL = [block for path in READMES for block in blocks(path) if block.language == "sh"]
REQUIRED = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "data/README.md", "docker/README.md"]


@pytest.mark.parametrize("name", REQUIRED)
def test_the_document_is_there(name):
    assert (ROOT / name).stat().st_size > 200


@pytest.mark.parametrize("model", sorted(path.parent for path in ROOT.glob("models/*/Makefile")), ids=lambda path: path.name)
def test_every_model_has_its_doors(model):
    doors = "Makefile README.md preprocess.py pth2onnx.py atc.sh infer.sh postprocess.py assets.toml original.json"
    assert [door for door in doors.split() if not (model / door).exists()] == []
    assert list(model.glob("test_*.py")) and (ROOT / "data" / "tiny" / model.name).is_dir()
    assert (model / "README.md").read_text().rstrip().split("\n## ")[-1].startswith("Differences from the original")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of what git tracks or would track, in a folder beside a link to the corpora, using this environment."""
    place = tmp_path_factory.mktemp("docs") / "npukit"
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    if (corpora := released_corpora()):
        (place.parent / "shared").mkdir()
        (place.parent / "shared" / "data").symlink_to(corpora)
    return place


def run(script: str, place: Path) -> subprocess.CompletedProcess:
    """Run a block in bash as a reader would, but with a short pure inference and without the tests running themselves."""
    environment = {**os.environ, "VENV": sys.prefix, "ENGINE": "none", "LOOP": "3", "MAKEFLAGS": ""}
    environment.pop("PYTHONPATH", None)
    script = re.sub(r"^make (test|lint)$", r"make -n \1", script, flags=re.M)
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=place, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_commands_run(block: Block, clone: Path):
    kind = block.note.split(" ")[0]
    script = block.body.replace("PROFILE=released", "PROFILE=tiny") if kind == "corpus" else block.body
    if kind == "corpus" and not released_corpora():
        pytest.skip("the released corpora are not beside the repository")
    if kind == "npu":
        script = re.sub(r"^make ", "make STANDIN=1 ", script, flags=re.M)
    if kind == "light":
        script = re.sub(r"^make ", "make -n STANDIN=1 ", script, flags=re.M)
    if kind in ("hours", "needs", "cluster"):
        script = re.sub(r"^make ", "make -n ", script, flags=re.M)
    done = run(script, clone)
    if kind == "needs":
        assert done.returncode == 2 and "is missing; " in done.stdout, done.stdout
    elif kind == "hours" and not released_corpora():
        assert "is missing; " in done.stdout, done.stdout
    else:
        assert done.returncode == 0, done.stdout


def test_a_command_that_fails_is_seen(clone):
    assert run("make MODEL=no_such_model all", clone).returncode != 0


LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_resolve(path):
    assert [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()] == []
