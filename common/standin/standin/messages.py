"""How the tools speak: `[LEVEL] message` on stdout, the stand-in's own name on stderr, one sentence when they fail."""
import functools
import logging
import sys
from collections.abc import Callable

from standin import WATERMARK

logger = logging.getLogger("standin")

WARN = logging.WARNING + 1  # the native library writes [WARN] where the Python tool writes [WARNING]
logging.addLevelName(WARN, "WARN")


class ToolError(RuntimeError):
    """A failure that the real tool raises as RuntimeError; the text is one sentence."""


class _Stdout(logging.Handler):
    """Writes to the sys.stdout of the moment, so that a redirection in the same process is honoured."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def speak(debug: bool = False) -> None:
    """Let the log lines out, once per process; debug lines too when asked."""
    if not logger.handlers:
        handler = _Stdout()
        handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


@functools.cache
def announce() -> None:
    """Say once on stderr whose numbers these are; stdout belongs to the scripts that parse it."""
    print(WATERMARK, file=sys.stderr, flush=True)


def exit_code(main: Callable[[], int]) -> int:
    """Run a tool; its failure is one last sentence and exit code 1, as a RuntimeError of the real tool ends."""
    try:
        return main()
    except (ToolError, OSError) as error:  # an OSError names its file: no space, no permission
        sys.stdout.flush()
        print(f"RuntimeError: {error}", file=sys.stderr)
        return 1
