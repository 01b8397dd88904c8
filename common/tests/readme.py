"""The fenced blocks of a Markdown file."""
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent>[ \t]*)```(?P<info>[^\n`]*)\n(?P<body>.*?)^[ \t]*```[ \t]*$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and what stands behind it, its lines, where it begins."""

    path: Path
    line: int
    language: str
    note: str
    body: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Return every fenced block of a file."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, _, note = match["info"].strip().partition(" ")
        body = "\n".join(line.removeprefix(match["indent"]) for line in match["body"].splitlines())
        found.append(Block(path, text[:match.start()].count("\n") + 1, language, note, body))
    return found


def commands(block: str) -> list[str]:
    """Return the commands of a shell block, continuation lines joined, comments and blank lines left out, blanks folded."""
    joined = re.sub(r"\\\s*\n\s*", " ", block)
    lines = (re.sub(r"\s+#.*$", "", " ".join(line.split())) for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
