"""One run of atc, from the first line to the exit status."""
from __future__ import annotations

import json
import sys
from pathlib import Path

from standin.atc import flags
from standin.atc.errors import UNKNOWN_ERROR, AtcError, fail

FAILED = 255  # every failure: GE's FAILED, cut to a byte


def main(arguments: list[str]) -> int:
    """Run atc and return the exit status: 0, or 255 after the `ATC run failed` line and an error block on stdout."""
    print("ATC start working now, please wait for a moment.", flush=True)
    try:
        options = flags.parse(arguments)
    except flags.UsageError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        return failed(UNKNOWN_ERROR)
    except AtcError as error:
        return failed(error.block())
    if options["help"] == "1":
        print(flags.usage())
        return 0
    try:
        run(options, " ".join(["atc", *arguments]))
    except AtcError as error:
        print("...")
        return failed(error.block())
    # The real tool ends the operator compiler's row of dots with this line, whether there were any or not.
    print("...")
    print("ATC run success, welcome to the next use.")
    return 0


def failed(block: str) -> int:
    """Print how a failed run ends; return its exit status."""
    print("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    print(block, flush=True)
    return FAILED


def run(options: dict[str, str], command: str) -> None:
    """Do what --mode says."""
    mode = options["mode"]
    if mode == "6":
        from standin.atc.show import display

        display(options)
    elif mode == "1":
        from standin.atc.show import to_json

        to_json(options)
    elif mode == "0":
        generate(options, command)
    else:
        raise fail("E10055", reason=f"the npukit stand-in has the modes 0, 1 and 6, not {mode}")


def generate(options: dict[str, str], command: str) -> None:
    """Compile the model and write the om and, into the working directory, the files that the real tool leaves there."""
    from standin.atc import checks, shapes

    checks.check(options)
    asked = shapes.read(options)
    # A mistyped option is answered before these are imported: they take most of the time of a small model.
    from standin import om
    from standin.atc.compiler import compile_model

    model, path = compile_model(options, asked, command)
    try:
        Path("kernel_meta").mkdir(exist_ok=True)
        Path("fusion_result.json").write_text(json.dumps([{"graph_fusion": {}, "ub_fusion": {}}]) + "\n")
        om.write(path, model)
    except OSError as error:
        raise fail("E13004", file=error.filename or path, reason=error.strerror) from None
    if options["display_model_info"] == "1":
        from standin.atc.show import print_info

        print_info(model)
