"""Facts brought home: a tarball of first light becomes recorded cases and tables of cost in the tree, to be looked at and committed.

    common/standin/facts/<chip>-<cann>.json   what the chip was seen to do; the stand-in replays it in its tests
    models/<model>/costs/<chip>.json          {batch size: {length: ms a sample}}; SEQ_LENS=auto weighs lengths by it

A tarball that a stand-in made writes files that say so in their names and that nothing takes up by itself.
"""
import json
import re
from pathlib import Path

from npukit import files
from npukit.corpus import gears
from npukit.errors import UserError
from npuops.light import differences, tarball

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,60}")
TEXT = ("case", "fact", "says", "source", "certainty", "command")
SEEN = ("case", "fact", "time", "expected", "observed", "same", "class", "version")  # what is kept of an observation


def take(path: Path, root: Path) -> list[Path]:
    """Write what a tarball tells into the tree at root; return the files.

    raises  UserError for a tarball that is none of first light's, or that names what cannot be
    """
    told = check(path, tarball.read(path, ["facts.json"])["facts.json"])
    written = [root / "common" / "standin" / "facts" / f"{told['chip']}-{told['versions'].get('cann', 'unknown')}.json"]
    observations = [{key: seen[key] for key in SEEN if key in seen} for seen in told["observations"]]
    files.write_json(written[0],
                     {**{key: told[key] for key in ("chip", "standin", "versions")}, "observations": observations})
    for model, cost in told["costs"].items():
        if not (root / "models" / model / "Makefile").exists():
            raise UserError(f"{path} has costs of {model!r}, and there is no such model here")
        if gears.of_costs(cost):  # of one length there is no choice
            written.append(root / "models" / model / "costs" / f"{told['chip']}.json")
            files.write_json(written[-1], cost)
    return written


def check(path: Path, text: str) -> dict:
    """Return the facts if they are of the kind that first light writes."""
    try:
        told = json.loads(text)
        if told["schema"] != 1:
            raise UserError(f"{path} holds facts of schema {told['schema']!r}; this npukit knows 1")
        for name in (told["chip"], told["soc"], *told["versions"].values(), *told["costs"]):
            if not NAME.fullmatch(name):
                raise UserError(f"{path} has {name[:80]!r} where a name or a version belongs")
        if told["standin"] != told["chip"].endswith("-standin"):
            raise UserError(f"{path} says chip {told['chip']} and standin {told['standin']}, which do not go together")
        for seen in told["observations"]:
            if [type(seen[key]) for key in (*TEXT, "same", "time")] != [*(str,) * len(TEXT), bool, int]:
                raise UserError(f"{path} has an observation that is none: {str(seen)[:80]}")
        differences.differing(told["observations"])
        for cost in told["costs"].values():
            gears.of_costs(cost)
        return told
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} has no facts of first light: {type(error).__name__}: {error}") from None
