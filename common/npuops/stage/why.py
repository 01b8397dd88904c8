"""Turn `make -n --debug=basic` into the reasons why stages are stale."""
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

MISSING = re.compile(r"File '(.+)' does not exist\.")
NEWER = re.compile(r"Prerequisite '(.+)' is newer than target '(.+)'\.")
FLAGS = re.compile(r"Prerequisite 'changed' of target '(.+)' does not exist\.")
REMADE = re.compile(r"Must remake target '(.+)'\.")


def reasons(debug: Iterable[str], out: Path) -> Iterator[str]:
    """Yield one line for each target under `out` that make would build again, with what makes it stale.

    A target behind a stale one is stale for that alone; it is named once with its first such prerequisite.
    """
    why: dict[str, list[str]] = {}
    for line in map(str.strip, debug):
        if match := MISSING.fullmatch(line):
            why.setdefault(match[1], []).append("it does not exist")
        elif match := NEWER.fullmatch(line):
            why.setdefault(match[2], []).append(f"{match[1]} is newer")
        elif match := FLAGS.fullmatch(line):
            why.setdefault(match[1], []).append("its command, flags or tool versions have changed")
        elif (match := REMADE.fullmatch(line)) and Path(match[1]).is_relative_to(out):
            yield f"{Path(match[1]).relative_to(out.parent)}: {'; '.join(why.get(match[1], ['a stage before it runs again']))}"
