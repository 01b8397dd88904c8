"""Turn what `make -n --debug=basic` says into the reasons why stages are stale: which file is newer, which flag differs."""
from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

KEY = re.compile(r"key (\S+) (.*)")
MISSING = re.compile(r"File '(.+)' does not exist\.")
NEWER = re.compile(r"Prerequisite '(.+)' is newer than target '(.+)'\.")
GONE = re.compile(r"Prerequisite '(.+)' of target '(.+)' does not exist\.")
REMADE = re.compile(r"Must remake target '(.+)'\.")


def reasons(debug: Iterable[str], out: Path) -> Iterator[str]:
    """Yield one line for each target under `out` that make would build again, with what makes it stale.

    A target behind a stale one is stale for that alone; it is named once with its first such prerequisite. common/model.mk says
    the key of each stage, `key TARGET COMMAND | VERSIONS`; the one that it was made with lies beside the target.
    """
    why: dict[str, list[str]] = {}
    keys: dict[str, str] = {}
    for line in map(str.strip, debug):
        if match := KEY.fullmatch(line):
            keys[match[1]] = match[2]
        elif match := MISSING.fullmatch(line):
            why.setdefault(match[1], []).append("it does not exist")
        elif match := NEWER.fullmatch(line):
            why.setdefault(match[2], []).append(newer(*match.groups()))
        elif match := GONE.fullmatch(line):
            why.setdefault(match[2], []).append(differences(match[2], keys) if match[1] == "changed"
                                                else f"{match[1]} is gone")
        elif (match := REMADE.fullmatch(line)) and Path(match[1]).is_relative_to(out):
            yield f"{Path(match[1]).relative_to(out.parent)}: {'; '.join(why.get(match[1], ['a stage before it runs again']))}"


def newer(prerequisite: str, target: str) -> str:
    """Return which file is newer than a stage, with both times; make calls a file newer too that it is about to make again."""
    try:
        changed, made = (Path(path).stat().st_mtime for path in (prerequisite, target))
    except OSError:
        return f"{prerequisite} is newer"
    if changed <= made:
        return f"{prerequisite} is made again"
    told = [time.strftime("%F %T", time.localtime(when)) for when in (changed, made)]
    return f"{prerequisite} is newer: of {told[0]}, the stage of {told[1]}"


def differences(target: str, keys: dict[str, str]) -> str:
    """Return how a stage's command, flags and tool versions have changed, old -> new."""
    said = "its command, flags or tool versions have changed"
    try:
        old, new = Path(target).with_name("command").read_text().split(), keys[target].split()
    except (OSError, KeyError):
        return said
    changes = [f"{' '.join(old[a:b]) or 'nothing'} -> {' '.join(new[c:d]) or 'nothing'}"
               for a, b, c, d in changed_words(old, new)]
    return f"{said}: {', '.join(changes)}" if changes else "it was made before stages noted what they read"


def changed_words(old: list[str], new: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (begin, end in the old, begin, end in the new) of each difference; a value comes with the flag before it."""
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        flag = a > 0 and c > 0 and old[a - 1] == new[c - 1] and old[a - 1].startswith("--")
        yield (a - 1, b, c - 1, d) if flag and not (old[a:b] + new[c:d])[0].startswith("--") else (a, b, c, d)
