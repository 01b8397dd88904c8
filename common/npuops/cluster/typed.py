"""Values of TOML or JSON -> dataclasses, by their annotations. An error names file, key, what was found and expected.

Known are dataclasses, str, int, bool, `X | None`, tuple[X, ...], list[X] and dict[str, X].
Every string must be one that a job's text may hold.
"""
import dataclasses
import types
import typing

from npukit.errors import UserError


def build(kind, given, where: str):
    """Return `given` as a value of the type `kind`; UserError where it is none.

    where  the file, and the key in it
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None
        return None if given is None else build(inner[0], given, where)
    expected = dict if dataclasses.is_dataclass(kind) else list if origin is tuple else origin or kind
    if type(given) is not expected:
        raise UserError(f"{where} = {given!r}; expected {expected.__name__}")
    if dataclasses.is_dataclass(kind):
        return record(kind, given, where)
    if expected is list:
        return origin(build(inner[0], item, f"{where}[{number}]") for number, item in enumerate(given))
    if expected is dict:
        return {printable(key, where): build(inner[1], item, f"{where}.{key}") for key, item in given.items()}
    return printable(given, where)


def record(cls, given: dict, where: str):
    """Return a dataclass with these values over its defaults."""
    types_of, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    if unknown := sorted(set(given) - set(types_of)):
        raise UserError(f"{where}: there is no key {', '.join(unknown)}; there are: {', '.join(types_of)}")
    needed = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in given]:
        raise UserError(f"{where}: the key {missing[0]} is missing; expected {', '.join(needed)}")
    return cls(**{name: build(types_of[name], value, f"{where}: {name}") for name, value in given.items()})


def printable(value, where: str):
    """Return a value; UserError for a string, wherever in it, that no text of a job may hold.

    That is one with a line break or another character that cannot be seen, or with a backslash,
    which Slurm takes for an escape even between quotes.
    """
    if isinstance(value, str) and ("\\" in value or not value.isprintable()):
        raise UserError(f"{where} = {value!r} has a backslash or a character that cannot be printed; "
                        "no name or path of a job may")
    if isinstance(value, dict):
        for key, item in value.items():
            printable(key, where)
            printable(item, key)
    elif isinstance(value, (list, tuple)):
        for item in value:
            printable(item, where)
    return value
