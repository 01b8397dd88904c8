"""UTF-8 text by lines; what is not UTF-8 is refused with file, line and byte. Needs nothing but Python."""
from collections.abc import Iterator
from pathlib import Path

from npukit.errors import BadSample


def lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its line feed) of every line of a file.

    encoding  utf-8-sig drops a byte order mark at the beginning of the file
    raises    BadSample for a line that is not UTF-8
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, decoded(line.removesuffix(b"\n"), encoding if number == 1 else "utf-8")
            except ValueError as error:
                raise BadSample(path, number, str(error)) from None


def decoded(line: bytes, encoding: str = "utf-8") -> str:
    """Return the text of a line; raise ValueError, in words for the user, where it is not UTF-8."""
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8; convert the file, for instance with iconv") from None
