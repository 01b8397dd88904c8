"""Why a stage is stale, from what make itself says."""
import os
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
.PHONY: changed
changed: ;
"""


@pytest.fixture
def plan(tmp_path):
    """Return a function that lays out three stages and returns {stage: why make would run it}."""
    out = tmp_path / "out"
    out.mkdir()

    def ask(extra="", **times):
        (tmp_path / "Makefile").write_text(MAKEFILE.format(out=out) + extra.format(out=out))
        for name, when in {"corpus": 1, "script.py": 1, "out/a": 2, "out/b": 3, "out/c": 4, **times}.items():
            path = tmp_path / name
            path.touch()
            os.utime(path, (when, when)) if when else path.unlink()
        done = subprocess.run(["make", "-n", "--debug=basic", f"{out}/c"], cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C"}, check=True)
        lines = [line.replace(f"{out}/", "").split(": ", 1) for line in reasons(done.stdout.splitlines(), out)]
        return {Path(target).name: reason for target, reason in lines}

    return ask


def test_nothing_is_stale(plan):
    assert plan() == {}


@pytest.mark.parametrize("times, expected", [
    ({"corpus": 9}, {"a": "corpus is newer", "b": "a is newer", "c": "b is newer"}),
    ({"script.py": 9}, {"b": "script.py is newer", "c": "b is newer"}),
    ({"out/c": 0}, {"c": "it does not exist"}),
    ({"out/a": 0, "script.py": 9}, {"a": "it does not exist", "b": "a is newer; script.py is newer", "c": "b is newer"})],
    ids=["corpus", "script", "last stage gone", "two reasons"])
def test_the_prerequisite_is_named(plan, times, expected):
    assert plan(**times) == expected


def test_flags(plan):
    stale = plan(extra="{out}/b: changed\n")
    assert stale.keys() == {"b", "c"} and stale["b"] == "its command, flags or tool versions have changed"


def test_other_targets_are_no_stages():
    assert list(reasons(["Must remake target '/elsewhere/x'.", "Must remake target 'help'."], Path("/out"))) == []
