"""Template files -> job texts.

A template is the text as the scheduler reads it, with @{name} where a value goes. A value is quoted for the place it goes to, by the
template's suffix, so that no name or path can be more than one word of a shell or one scalar of YAML. A line with a value that is
None is left out. Maps and lists become YAML's flow style, which is JSON.
"""
import json
import re
import shlex
from pathlib import Path

from npukit.errors import UserError

FOLDER = Path(__file__).parent
PLACE = re.compile(r"@\{([a-z_]+)\}")


def fill(name: str, values: dict) -> str:
    """Return the template <scheduler>/<file> with its values in place.

    raises  UserError for a value with a line break, another character that cannot be seen, or a backslash
            KeyError for a place without a value, which is a mistake of ours
    """
    quote = quote_yaml if name.endswith(".yaml") else quote_shell
    for key, value in values.items():
        printable(value, key)
    lines = []
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if all(values[key] is not None for key in PLACE.findall(line)):
            lines.append(PLACE.sub(lambda match: quote(values[match[1]]), line))
    return "\n".join(lines) + "\n"


def quote_shell(value) -> str:
    """Return a value as one word of a shell, a list as its words; the same quotes hold in a line of #SBATCH."""
    return " ".join(map(quote_shell, value)) if isinstance(value, (list, tuple)) else shlex.quote(str(value))


def quote_yaml(value) -> str:
    """Return a value as YAML on one line; JSON is YAML, as long as every character can be seen."""
    return json.dumps(value, ensure_ascii=False)


def printable(value, what: str) -> None:
    """Raise UserError if a string, or one inside a list or a map, has a line break, another invisible character or a backslash,
    which Slurm takes for an escape even between quotes."""
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    for item in inside:
        printable(item, what)
    if isinstance(value, str) and ("\\" in value or not value.isprintable()):
        raise UserError(f"{what} = {value!r} has a backslash or a character that cannot be printed; no name or path of a job may")
