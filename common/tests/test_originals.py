"""Every command of the original READMEs runs here or is named as changed, in the model's own list; every figure and link is kept.

The originals are not in the repository: NPUKIT_ORIGINALS names a folder with <model>.md of each.
"""
import json
import os
import re
from pathlib import Path

import pytest
from readme import ROOT, blocks, commands
from suite import lacks

MODELS = sorted(path.parent.name for path in ROOT.glob("models/*/Makefile"))


@pytest.fixture(params=MODELS)
def model(request) -> str:
    return request.param


@pytest.fixture
def original(model) -> Path:
    if not json.loads((ROOT / "models" / model / "original.json").read_text())["rows"]:
        pytest.skip("it mirrors no README")
    path = Path(os.environ.get("NPUKIT_ORIGINALS", "")) / f"{model}.md"
    if "NPUKIT_ORIGINALS" not in os.environ or not path.exists():
        message = f"set NPUKIT_ORIGINALS to a folder that holds the original README as {path.name}"
        lacks(message)
    return path


def listed(model: str) -> list[tuple[str, str]]:
    """Return the items (original, here) of the README's list, lines joined: `- original` and, indented, `→ here`."""
    text = (ROOT / "models" / model / "README.md").read_text(encoding="utf-8")
    section = text.split("## Original command → here\n", 1)[1].split("\n## ", 1)[0]
    items = [" ".join(item.split()) for item in re.findall(r"^- (.+(?:\n  .+)*)", section, re.M)]
    return [(original, here) for original, _, here in (item.partition(" → ") for item in items)]


def spelled(text: str) -> list[str]:
    """Return the pieces of code in a text."""
    return [" ".join(match[2].split()) for match in re.finditer(r"(``?)(.+?)\1(?!`)", text)]


DRAWING = ("├", "│", "└", "+-", "+=", "| ", "回显如下")  # directory trees and npu-smi's box


def is_shown(body: str) -> bool:
    """Whether a block shows what appears, rather than what is typed: it, or all behind its first line, is a drawing."""
    first, *rest = [line.strip() for line in body.strip().splitlines()]
    return first.startswith(DRAWING) or first == "metrics:" or (rest[:1] != [] and rest[0].startswith(("├", "│", "└")))


def unaccounted(model: str, original: Path) -> list[str]:
    """Return the commands and printed blocks of an original README that the model's list does not name."""
    named = [piece for text, _ in listed(model) for piece in spelled(text)]
    missing = []
    for block in blocks(original):
        if is_shown(block.body):
            first = " ".join(block.body.split("\n")[0].split())
            missing += [] if any(first.startswith(piece) for piece in named) else [first]
        else:
            missing += [command
                        for command in commands(block.body) if command not in named and not command.startswith(DRAWING)]
    return missing


def test_every_command_is_accounted_for(model, original):
    assert unaccounted(model, original) == []


def test_every_row_says_what_becomes_of_it(model):
    for text, here in listed(model):
        assert here.startswith(("as it is", "changed: ", "`")), f"{text}: {here}"
        if here.startswith("changed"):
            assert len(here) > len("changed: "), f"{text}: a reason is missing"


def test_the_originals_figures_are_the_originals(model, original):
    """original.json against the table of the original README: every throughput stands there as a number of its own.

    A row with a source of its own is quoted from elsewhere.
    """
    text = original.read_text(encoding="utf-8")
    for row in json.loads((ROOT / "models" / model / "original.json").read_text())["rows"]:
        if row["throughput_per_s"] is not None and "source" not in row:
            assert re.search(rf"(?<![\d.]){re.escape(format(row['throughput_per_s'], '.12g'))}(?!\d)", text), row


# --- Figures and links

LINK = re.compile(r"https?://[\w.~:/?#@!$&*+,;=%-]+", re.A)
# A figure, a version (5.1.RC1, 7.0.RC1.alpha003, 2.0.1+cpu, V100R020C10), a commit; a number within a name (bs64, INT64) is the name's.
FIGURE = re.compile(r"(?<![\w.])(?:[0-9a-f]{40}|V\d+R\d+C\d+|\d+(?:\.(?:\d+|RC\d+|rc\d+|alpha\d+))*(?:\+cpu)?)", re.A)
SHAPE = re.compile(r"\b\w+(?: +x +\w+)+", re.A)
# What is left out, for it tells nothing of the model: the names of sections and the numbers of headings and list items; links, which
# have a test of their own; npu-smi's box, a picture of somebody's machine; what lies in the folders of a drawn tree
# (a saved web page's files, one file a sample), which is_shown answers for as a whole.
LEFT_OUT = re.compile("|".join([
    r"^#+ +(?:<a name=.*?>)?\d+(?:\.\d+)*\.?(?= )",
    r"^\s*-? *\[?\d+\.(?:\d+\.?)*(?= )",  # the numbers of headings and list items
    r"<a name=.*?>", r"\(#.*?\)",  # what sections are called
    LINK.pattern, r"^\s*(?:\+[-=]|\| (?:NPU|Chip|[01]) {3}).*$",  # npu-smi's box
    r"^\s*│.*$"]), re.M | re.A)  # what lies in a folder of a drawn tree


def figures(text: str) -> set[str]:
    """Return the figures, versions, commits and tensor shapes of an original, blanks folded."""
    kept = LEFT_OUT.sub("", text)
    return {*FIGURE.findall(kept), *(" ".join(shape.split()) for shape in SHAPE.findall(kept))}


def lost_figures(model: str, original: Path) -> list[str]:
    """Return the figures of an original README that stand nowhere in the model's folder as figures of their own.

    A small whole number stands in every folder: of those this sees little, of rates, versions and shapes all.
    """
    folder = ROOT / "models" / model
    told = "\n".join(path.read_text(encoding="utf-8")
                     for pattern in ("README.md", "original.json", "Makefile", "[!t]*.py", "*.sh")
                     for path in sorted(folder.glob(pattern)))
    return sorted(figure for figure in figures(original.read_text(encoding="utf-8"))
                  if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d|\.\d)", told))


def lost_links(model: str, original: Path) -> list[str]:
    """Return the links of an original README that its model's README does not have."""
    ours = set(LINK.findall((ROOT / "models" / model / "README.md").read_text(encoding="utf-8")))
    return sorted(set(LINK.findall(original.read_text(encoding="utf-8"))) - ours)


def test_every_figure_is_accounted_for(model, original):
    assert lost_figures(model, original) == []


def test_every_link_is_kept(model, original):
    assert lost_links(model, original) == []


@pytest.mark.parametrize("line, figure", [
    ("| 310P | 1 | 73.9152 fps |", "73.9152"), ("f1:93.95381607527929123%", "93.95381607527929123"),
    ("CANN 4.9.RC7.alpha009", "4.9.RC7.alpha009"), ("| 1 | 0.91827 |", "0.91827"),
    ("torch==0.4.1+cpu", "0.4.1+cpu"), ("约98765条", "98765"), ("| x | bs x 17 x 91 |", "bs x 17 x 91"),
    ("`acc=0.1357`, fp16", "0.1357"),
    (f"commit_id = {'0a1b2c3d4e' * 4}", "0a1b2c3d4e" * 4)])
def test_a_missing_figure_is_seen(model, tmp_path, line, figure):
    longer, left_out = tmp_path / "longer.md", '## <a name="77">9.8.7 title\n12. item <a name="ZH-CN_TOPIC_0000001172161501">\n'
    longer.write_text(left_out + line, encoding="utf-8")
    assert figure in lost_figures(model, longer) and figures(left_out) == set()


def test_a_missing_link_is_seen(model, tmp_path):
    (tmp_path / "longer.md").write_text("[指南](https://example.org/no/such?a=b&c)。", encoding="utf-8")
    assert lost_links(model, tmp_path / "longer.md") == ["https://example.org/no/such?a=b&c"]


def test_a_missing_command_is_seen(model, original, tmp_path):
    longer = tmp_path / original.name
    longer.write_text(original.read_text(encoding="utf-8")
                      + "\n```bash\npython3 no_such_script.py \\\n    --flag\n```\n", encoding="utf-8")
    assert unaccounted(model, longer) == ["python3 no_such_script.py --flag"]
