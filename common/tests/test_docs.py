"""Every command of every README runs. The words behind a block's language say how:

    sh               as it is, in a fresh copy of the repository with nothing beside it
    sh corpus        the same where the released corpora are, else skipped with that reason
    sh npu           with STANDIN=1 behind each make: all but the chip
    sh light         make -n with STANDIN=1 behind each make: what takes a chip and an hour
    sh hours         make -n: the commands are there; `hours corpus` where the released corpora are
    sh cluster       make -n: it runs where a scheduler is
    sh needs ...     make -n is answered in one sentence: what it needs is the reader's own
Anything else in a fence is not a command.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import released_corpora
from readme import ROOT, Block, blocks
from scripts import copied
from suite import lacks

READMES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("models/*/*.md"), *ROOT.glob("common/*/*.md")]
                 if not {"out", ".venv"} & set(path.relative_to(ROOT).parts))
SHELL = [block for path in READMES for block in blocks(path) if block.language == "sh"]
REQUIRED = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "data/README.md", "docker/README.md"]


@pytest.mark.parametrize("name", REQUIRED)
def test_the_document_is_there(name):
    assert (ROOT / name).stat().st_size > 200


@pytest.mark.parametrize("model", sorted(path.parent for path in ROOT.glob("models/*/Makefile")), ids=lambda path: path.name)
def test_every_model_has_its_doors(model):
    doors = "Makefile README.md preprocess.py pth2onnx.py atc.sh postprocess.py assets.toml original.json"
    assert [door for door in doors.split() if not (model / door).exists()] == []
    tiny = re.search(r"^CORPUS_tiny = (.+)$", (model / "Makefile").read_text(), re.M)[1]
    assert list(model.glob("test_*.py")) and (ROOT / "data" / tiny).exists()
    assert (model / "README.md").read_text().rstrip().split("\n## ")[-1].startswith("Differences from the original")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a stranger has: a copy of what git tracks or would track, and nothing beside it."""
    return copied(tmp_path_factory.mktemp("docs") / "npukit")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory) -> Path:
    """The same for a reader who has fetched the corpora."""
    place = copied(tmp_path_factory.mktemp("fetched") / "npukit")
    done = run("make fetch", place)
    assert done.returncode == 0, done.stdout
    return place


def run(script: str, place: Path) -> subprocess.CompletedProcess:
    """Run a block in bash as a reader would, but with a short pure inference and without the tests running themselves."""
    environment = {**os.environ, "VENV": sys.prefix, "ENGINE": "none", "LOOP": "3", "MAKEFLAGS": "", "LOCAL": str(released_corpora() or "")}
    environment.pop("PYTHONPATH", None)
    script = re.sub(r"^make (test|test-all|lint)$", r"make -n \1", script, flags=re.M)
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=place, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


FLAGS = {"npu": "STANDIN=1", "light": "-n STANDIN=1", "hours": "-n", "needs": "-n", "cluster": "-n"}


def is_long(block: Block) -> bool:
    """Whether a block runs a model: `make all`, or an original's steps by hand."""
    dry = "-n" in FLAGS.get(block.note.split(" ")[0], "")
    return not dry and bool(re.search(r"\b(all|atc|infer|bench|set_env)\b|models/\S+/test/", block.body))


@pytest.mark.parametrize("block", [pytest.param(block, marks=[pytest.mark.long] if is_long(block) else []) for block in SHELL], ids=str)
def test_the_commands_run(block: Block, request):
    how, corpus = block.note.split(" ")[0], "corpus" in block.note.split(" ")
    if corpus and not released_corpora():
        lacks("it takes the released corpora: NPUKIT_DATA=folder says where they are")
    script = block.body.replace("PROFILE=released", "PROFILE=tiny") if how == "corpus" else block.body
    if how in FLAGS:
        script = re.sub(r"^make ", f"make {FLAGS[how]} ", script, flags=re.M)
    done = run(script, request.getfixturevalue("fetched" if corpus else "clone"))
    if how == "needs":
        assert done.returncode == 2 and "is missing; " in done.stdout, done.stdout
    else:
        assert done.returncode == 0, done.stdout


def test_a_block_that_needs_a_corpus_says_so_to_its_reader():
    """Words in a fence are seen by nobody; and nobody has a folder beside the clone."""
    corpus = [block for block in SHELL if "corpus" in block.note.split(" ")]
    assert [str(block) for block in corpus if "fetch" not in block.body] == []
    assert [path.name for path in READMES if re.search(r"LOCAL=\.\.|\.\./\w+/data", path.read_text(encoding="utf-8"))] == []


def test_a_command_that_fails_is_seen(clone):
    assert run("make MODEL=no_such_model all", clone).returncode != 0


LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_resolve(path):
    assert [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()] == []
