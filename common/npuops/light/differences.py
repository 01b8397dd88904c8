"""What the conformance cases saw: the observations of a run, and the differences among them by class and fact.

An observation is a line of JSON, as common/standin/conformance/cases.py writes it:
    case, fact, time     which case saw it, under which fact, and the how manieth time there
    says, certainty, source  what is known, how surely, from where
    command, expected, observed, same
    class, version       of one that differs
"""
import json
from collections.abc import Iterable
from pathlib import Path

from npukit.errors import UserError

CLASSES = ("the stand-in is wrong", "the version differs", "the chip lacks it")


def read(paths: Iterable[Path]) -> list[dict]:
    """Return the observations of these files; one that is not there has none, and a line that was cut short is none."""
    texts = (path.read_text(encoding="utf-8") for path in paths if path.exists())
    return [json.loads(line) for text in texts for line in text.rpartition("\n")[0].splitlines()]


def differing(observations: list[dict]) -> list[list[dict]]:
    """Return the differences, those of one fact together, in the order of the classes; raise UserError for a class of no kind."""
    facts: dict[str, list[dict]] = {}
    for observation in observations:
        if not observation["same"]:
            if observation["class"] not in CLASSES:
                raise UserError(f"{observation['case']}: there is no class {observation['class']!r}; there are {', '.join(CLASSES)}")
            facts.setdefault(observation["fact"], []).append(observation)
    return sorted(facts.values(), key=lambda seen: (CLASSES.index(seen[0]["class"]), seen[0]["fact"]))


def confirmed(observations: list[dict]) -> list[str]:
    """Return the guesses that no observation contradicts, each in its words."""
    wrong = {observation["fact"] for observation in observations if not observation["same"]}
    guesses = {observation["fact"]: observation["says"]
               for observation in observations if observation["certainty"] == "guess"}
    return [f"{fact}: {says}" for fact, says in sorted(guesses.items()) if fact not in wrong]


def text(observations: list[dict]) -> str:
    """Return the differences as a list to read: by class, each with the command that shows it."""
    groups = differing(observations)
    counts = ", ".join(f"{sum(seen[0]['class'] == kind for seen in groups)} {kind}" for kind in CLASSES)
    head = f"{len(observations)} observations; {len(groups)} facts differ: {counts}."
    return "\n".join([head, *(part for kind in CLASSES if (part := of_class(kind, groups)))])


def of_class(kind: str, groups: list[list[dict]]) -> str:
    """Return one class's differences, or nothing."""
    parts = [describe(seen) for seen in groups if seen[0]["class"] == kind]
    return "\n\n".join([f"\n{kind[0].upper()}{kind[1:]}:", *parts]) if parts else ""


def describe(seen: list[dict]) -> str:
    """Return one fact's differences, told on the first of them."""
    first, others = seen[0], len(seen) - 1
    version = f" This is how {first['version']} does it." if "version" in first else ""
    more = f" And in {others} more observation{'s' if others > 1 else ''}." if others else ""
    command = "\n        ".join(first["command"].strip().splitlines())
    return (f"  {first['fact']}: {first['says']} ({first['certainty']}: {first['source']}).{version}\n    case      {first['case']}{more}\n"
            f"    command   {command}\n    expected  {first['expected']}\n    observed  {first['observed']}")
