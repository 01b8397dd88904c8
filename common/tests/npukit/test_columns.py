"""Columns: aligned, whole however wide, and coloured only for a terminal."""
import os
import pty
import subprocess
import sys

import pytest
from scripts import environment

from npukit.columns import columns

ROWS = [("model", "om it/s", "verdict"), ("bert", "1", "pass"),
        ("\u4e2d\u6587 [b]x[/b]", "12.5", f"FAIL: {'a long list, ' * 30}")]


def test_cells_stand_below_their_heading_and_none_is_cut():
    heading, rule, bert, other = columns(ROWS).splitlines()
    assert heading.split("  ")[0] == "model" and set(rule) == {"-", " "} and bert.endswith("pass")
    assert bert.index("1") == heading.index("om it/s") and bert.index("pass") == heading.index("verdict")
    assert other.startswith("\u4e2d\u6587 [b]x[/b]  12.5     FAIL: a long") and other.count("a long list") == 30
    assert other.index("12.5") == heading.index("om it/s") - 2, "two characters of double width"


def test_a_heading_alone():
    assert columns([("a", "b")]).split() == ["a", "b", "--", "-"]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("variable, coloured", [(None, True), ("NO_COLOR", False)])
def test_colour_is_for_terminals(terminal, variable, coloured):
    """Through a pseudo-terminal of 40 columns, and through a pipe that is told to be one."""
    script = f"import sys; from npukit.columns import columns; print(columns({ROWS!r}, sys.stdout.isatty()))"
    more = {"TERM": "xterm", "COLUMNS": "40", "FORCE_COLOR": "1", **({variable: "1"} if variable else {})}
    ours, theirs = pty.openpty()
    stdout = theirs if terminal else subprocess.PIPE
    done = subprocess.run([sys.executable, "-c", script], stdout=stdout, env=environment(**more), check=True)
    os.close(theirs)
    text = os.read(ours, 10_000).decode().replace("\r\n", "\n") if terminal else done.stdout.decode()
    os.close(ours)
    assert ("\x1b[32mpass" in text) == (terminal and coloured) and len(text.splitlines()) == 4
    assert text == columns(ROWS) + "\n" or terminal
