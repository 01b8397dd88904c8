"""Why a stage is stale, from what make itself says."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from npuops.stage.why import reasons

MAKEFILE = """
{out}/c: {out}/b
	touch $@
{out}/b: {out}/a script.py
	touch $@
{out}/a: corpus
	touch $@
corpus:
.PHONY: changed
changed: ;
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Return a function that lays out three stages and returns {stage: why make would run it}."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)  # names are relative to here

    def ask(extra="", **times):
        (tmp_path / "Makefile").write_text(MAKEFILE.format(out=out) + extra.format(out=out))
        for name, when in {"corpus": 1, "script.py": 1, "out/a": 2, "out/b": 3, "out/c": 4, **times}.items():
            path = tmp_path / name
            path.touch()
            os.utime(path, (when, when)) if when else path.unlink()
        done = subprocess.run(["make", "-n", "--debug=basic", f"{out}/c"], cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C"}, check=True)
        said = [re.sub(r"1970-01-01 \d\d:\d\d:0?(\d+)", r"\1", line) for line in reasons(done.stdout.splitlines(), out)]
        lines = [line.replace(f"{out}/", "").split(": ", 1) for line in said]
        return {Path(target).name: reason for target, reason in lines}

    return ask


def test_nothing_is_stale(plan):
    assert plan() == {}


@pytest.mark.parametrize("times, expected", [
    ({"corpus": 9}, {"a": "corpus is newer: of 9, the stage of 2", "b": "a is made again", "c": "b is made again"}),
    ({"script.py": 9}, {"b": "script.py is newer: of 9, the stage of 3", "c": "b is made again"}),
    ({"corpus": None}, {"a": "corpus is gone", "b": "a is made again", "c": "b is made again"}),
    ({"out/c": None}, {"c": "it does not exist"}),
    ({"out/a": None, "script.py": 9},
     {"a": "it does not exist", "b": "a is newer; script.py is newer: of 9, the stage of 3",
                                       "c": "b is made again"})],
    ids=["corpus", "script", "corpus gone", "last stage gone", "two reasons"])
def test_the_prerequisite_is_named(plan, times, expected):
    assert plan(**times) == expected


OTHERWISE = "its command, flags or tool versions have changed"


@pytest.mark.parametrize("old, new, said", [
    (None, "b --loop 7 | v1", ""), ("b --loop 5 | v1", "b --loop 7 | v1", ": --loop 5 -> --loop 7"),
    ("b --loop 5 | v1", "b --loop 5 | v2", ": v1 -> v2"), ("b | v1", "b --more | v1", ": nothing -> --more"),
    ("b --a 1 --b 2 x | v1", "b --a 3 --b 2 y | v1", ": --a 1 -> --a 3, x -> y")])
def test_flags(plan, tmp_path, old, new, said):
    if old is not None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out/command").write_text(old)
    stale = plan(extra="$(info key {out}/b " + new + ")\n{out}/b: changed\n")
    assert stale.keys() == {"b", "c"} and stale["b"] == OTHERWISE + said


def test_other_targets_are_no_stages():
    assert list(reasons(["Must remake target '/elsewhere/x'.", "Must remake target 'help'."], Path("/out"))) == []
