"""Where the released corpora are, for the tests that want them."""
import os
from pathlib import Path

from suite import lacks

PLACE = Path(os.environ["NPUKIT_DATA"]) if os.environ.get("NPUKIT_DATA") else None


def released_corpora() -> Path | None:
    """Return the folder of the released corpora, or None where NPUKIT_DATA does not name one."""
    return PLACE.resolve() if PLACE and PLACE.is_dir() else None


def need(name: str) -> Path:
    """Return a file of the released corpora; skip the test where it is missing, or fail it under NPUKIT_REQUIRE_ALL."""
    path = (PLACE or Path()) / name
    if PLACE is None or not path.exists():
        message = "it takes the released corpora: NPUKIT_DATA=folder says where they are"
        message = f"{name} is not in NPUKIT_DATA={PLACE}" if released_corpora() else message
        lacks(message)
    return path
