"""Template files -> job texts.

A template is the text as the scheduler reads it, with @{name} where a value goes. A value is quoted for the place it goes to, by the
template's suffix, so that no name or path can be more than one word of a shell or one scalar of YAML. A line with a value that is
None is left out; one whose value is Each comes once for each of its items. Maps and lists become YAML's flow style, which is JSON.
A line @{include:<file>} stands for the lines of that template, at its indentation.
"""
import json
import re
import shlex
from pathlib import Path

from npukit.errors import UserError

FOLDER = Path(__file__).parent
PLACE = re.compile(r"@\{([a-z_]+)\}")
INCLUDE = re.compile(r"^( *)@\{include:(.*)\}$")


class Each(list):
    """Values that stand on a line each; none of them, no line."""


class Block(Each):
    """Lines of JSON, for a literal block of YAML: as they are, for their line's indentation keeps them inside. Their backslashes are
    JSON's own, before its quotes."""


def fill(name: str, values: dict) -> str:
    """Return the template <scheduler>/<file> with its values in place.

    raises  UserError for a value with a line break, another character that cannot be seen, or a backslash
            KeyError for a place without a value, which is a mistake of ours
    """
    quote = quote_yaml if name.endswith(".yaml") else quote_shell
    for key, value in values.items():
        printable(value, key)
    lines = []
    for line in template(name):
        places = PLACE.findall(line)
        for item in next((values[place] for place in places if isinstance(values[place], Each)), [None]):
            given = {place: item if isinstance(values[place], Each) else values[place] for place in places}
            if None not in given.values():
                lines.append(PLACE.sub(lambda match, given=given: value_at(values[match[1]], given[match[1]], quote), line))
    return "\n".join(lines) + "\n"


def value_at(values, item, quote) -> str:
    return item if isinstance(values, Block) else quote(item)


def template(name: str) -> list[str]:
    """Return a template's lines, those that it includes in their place."""
    lines = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        included = INCLUDE.match(line)
        lines += [included[1] + inner for inner in template(included[2])] if included else [line]
    return lines


def quote_shell(value) -> str:
    """Return a value as one word of a shell, a list as its words; the same quotes hold in a line of #SBATCH."""
    return " ".join(map(quote_shell, value)) if isinstance(value, (list, tuple)) else shlex.quote(str(value))


def quote_yaml(value) -> str:
    """Return a value as YAML on one line; JSON is YAML, as long as every character can be seen."""
    return json.dumps(value, ensure_ascii=False)


def printable(value, what: str) -> None:
    """Raise UserError if a string, or one inside a list or a map, has a line break, another invisible character or a backslash,
    which Slurm takes for an escape even between quotes."""
    if isinstance(value, Block):
        value = list(line.replace("\\", "") for line in value)
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    for item in inside:
        printable(item, what)
    if isinstance(value, str) and ("\\" in value or not value.isprintable()):
        raise UserError(f"{what} = {value!r} has a backslash or a character that cannot be printed; no name or path of a job may")
