"""Where the released corpora are, for the tests that want them."""
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACE = Path(os.environ.get("NPUKIT_DATA", ROOT.parent / "shared" / "data"))


def released_corpora() -> Path | None:
    """Return the folder of the released corpora, or None where it is missing."""
    return PLACE.resolve() if PLACE.is_dir() else None


def need(name: str) -> Path:
    """Return a file of the released corpora; skip the test where it is missing, or fail it under NPUKIT_REQUIRE_ALL."""
    path = PLACE / name
    if not path.exists():
        message = f"{name} is not in {PLACE} (NPUKIT_DATA names another folder)"
        pytest.fail(message) if os.environ.get("NPUKIT_REQUIRE_ALL") else pytest.skip(message)
    return path
