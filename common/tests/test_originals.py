"""Every command of the original READMEs runs here or is named as changed, in the model's own table."""
import json
import os
import re
from pathlib import Path

import pytest
from readme import ROOT, blocks, commands

ORIGINALS = Path(os.environ.get("NPUKIT_ORIGINALS", ROOT.parent / "shared" / "originals"))
MODELS = sorted(path.parent.name for path in ROOT.glob("models/*/Makefile"))


@pytest.fixture(params=MODELS)
def model(request) -> str:
    return request.param


@pytest.fixture
def original(model) -> Path:
    path = ORIGINALS / f"{model}.md"
    if not path.exists():
        message = f"the original README {path.name} is not beside the repository"
        pytest.fail(message) if os.environ.get("NPUKIT_REQUIRE_ALL") else pytest.skip(message)
    return path


def table(model: str) -> list[tuple[str, str]]:
    """Return the rows (original, here) of the README's table, code marks off."""
    text = (ROOT / "models" / model / "README.md").read_text(encoding="utf-8")
    section = text.split("## Original command → here\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip().strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ") and "`" in line]
    return [(row[0].strip(), " | ".join(row[1:]).strip()) for row in rows]


def spelled(cell: str) -> list[str]:
    """Return the pieces of code in a cell."""
    return [" ".join(match[2].split()) for match in re.finditer(r"(``?)(.+?)\1(?!`)", cell)]


DRAWING = ("├", "│", "└", "+-", "+=", "| ", "回显如下")  # directory trees and npu-smi's box


def is_shown(body: str) -> bool:
    """Whether a block shows what appears, rather than what is typed: it, or all behind its first line, is a drawing."""
    first, *rest = [line.strip() for line in body.strip().splitlines()]
    return first.startswith(DRAWING) or first == "metrics:" or (rest[:1] != [] and rest[0].startswith(("├", "│", "└")))


def unaccounted(model: str, original: Path) -> list[str]:
    """Return the commands and printed blocks of an original README that the model's table does not name."""
    rows = [piece for cell, _ in table(model) for piece in spelled(cell)]
    missing = []
    for block in blocks(original):
        if is_shown(block.body):
            first = " ".join(block.body.split("\n")[0].split())
            missing += [] if any(first.startswith(row) for row in rows) else [first]
        else:
            missing += [command for command in commands(block.body) if command not in rows and not command.startswith(DRAWING)]
    return missing


def test_every_command_is_accounted_for(model, original):
    assert unaccounted(model, original) == []


def test_every_row_says_what_becomes_of_it(model):
    for cell, here in table(model):
        assert here.startswith(("as it is", "changed: ", "`")), f"{cell}: {here}"
        if here.startswith("changed"):
            assert len(here) > len("changed: "), f"{cell}: a reason is missing"


def test_the_originals_figures_are_the_originals(model, original):
    """original.json against the table of the original README: every throughput stands there as a number of its own."""
    text = original.read_text(encoding="utf-8")
    for row in json.loads((ROOT / "models" / model / "original.json").read_text())["rows"]:
        if row["throughput_per_s"] is not None:
            assert re.search(rf"(?<![\d.]){re.escape(format(row['throughput_per_s'], '.12g'))}(?!\d)", text), row


def test_a_missing_command_is_seen(model, original, tmp_path):
    longer = tmp_path / original.name
    longer.write_text(original.read_text(encoding="utf-8") + "\n```bash\npython3 no_such_script.py \\\n    --flag\n```\n", encoding="utf-8")
    assert unaccounted(model, longer) == ["python3 no_such_script.py --flag"]
