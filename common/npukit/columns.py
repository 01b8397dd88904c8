"""Rows of cells as text in columns, drawn by rich: plain, or with colour for a terminal; never wrapped or cut."""
import io
import re
from collections.abc import Iterable

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

RULED = Box("    \n    \n -  \n    \n    \n    \n    \n    \n",
            ascii=True)  # a rule below the heading and no other line
STYLES = {"pass": "green", "FAIL": "bold red"}  # by what a cell begins with, up to a colon
FILLING = re.compile(r" +((?:\x1b\[[\d;]*m)*)$")  # blanks at a line's end, where the codes of its colour may follow
WIDEST = 100_000  # characters a line; rich would wrap at 80 where there is no terminal


def columns(rows: Iterable[tuple[str, ...]], colour: bool = False) -> str:
    """Return rows as lines of aligned columns, the first row the heading, below it a rule; without a line feed at the end."""
    heading, *others = rows
    table = Table(box=RULED, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), border_style="dim")
    for name in heading:
        table.add_column(Text(name), no_wrap=True)
    for row in others:
        table.add_row(*(Text(cell, STYLES.get(cell.partition(":")[0], "")) for cell in row))
    console = Console(file=io.StringIO(), width=WIDEST, force_terminal=colour)
    console.print(table)
    return "\n".join(FILLING.sub(r"\1", line) for line in console.file.getvalue().splitlines())
