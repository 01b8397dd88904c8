#!/usr/bin/env python3
"""Run the stand-in's ais_infer.py; in a checkout, and by a symlink into it, it needs no installation."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if (ROOT / "standin").is_dir():  # a copy elsewhere relies on PYTHONPATH or on an installation
    sys.path[0] = str(ROOT)
from ais_bench.infer import ais_infer  # noqa: E402

from standin import messages  # noqa: E402

sys.exit(messages.exit_code(ais_infer.main))
