"""The command line that every stage script shares: help, errors, exit codes, progress."""
from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from npukit.errors import NpukitError, UserError


def parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring, flags spelled as in the originals."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def run(main: Callable[[], int | None]) -> None:
    """Run a script's main() and leave with the exit code of the house.

    0 done, 1 the job failed, 2 the user can mend it (argparse agrees), 75 try again elsewhere.
    An expected failure is one line on stderr; a traceback is always a bug of ours.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name = Path(sys.argv[0]).name.replace("__main__.py", "npukit")
    try:
        sys.exit(main())
    except NpukitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"{name}: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(UserError.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def progress(items: Iterable, what: str, total: int | None = None, unit: str = "it") -> Iterable:
    """Yield the items, with a bar on stderr where stderr is a terminal and nothing elsewhere."""
    from tqdm import tqdm  # --help must not wait for it

    return tqdm(items, desc=what, total=total, unit=unit, leave=False, disable=None)


def byte_progress(what: str, total: int | None, done: int = 0):
    """Return a bar of bytes, to be used with `with` and moved by its update(number); drawn where stderr is a terminal."""
    from tqdm import tqdm

    return tqdm(desc=what, total=total, initial=done, unit="B", unit_scale=True, leave=False, disable=None)
