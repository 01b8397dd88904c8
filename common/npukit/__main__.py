"""What infer.sh and the steps by hand call: python -m npukit <verb>."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from npukit.command import run


def main() -> int | None:
    verbs = {"batch": batch, "files": sample_files, "msame": msame, "merge": merge}
    parser = argparse.ArgumentParser(prog="npukit", description=__doc__)
    parser.add_argument("verb", choices=verbs)
    name = parser.parse_args(sys.argv[1:2]).verb
    return verbs[name](argparse.ArgumentParser(prog=f"npukit {name}", description=verbs[name].__doc__), sys.argv[2:])


def batch(parser, arguments) -> None:
    """Write the corpus as whole batches; print the flags with which one call of ais_bench takes them."""
    from npukit.corpus import batches

    parser.add_argument("--inputs", type=Path, required=True, help="what preprocess.py wrote")
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--bins", action="store_true", help="for msame")
    parser.add_argument("--by_gear", action="store_true", help="each length's batches in a folder of their own")
    args = parser.parse_args(arguments)
    flags = batches.write(args.inputs, args.batch_size, args.output, args.by_gear, args.bins)
    if not (args.by_gear or args.bins):
        print(*flags)


def sample_files(parser, arguments) -> None:
    """Write the corpus as the originals do by hand: a file for each sample and input."""
    from npukit.corpus import batches

    parser.add_argument("--inputs", type=Path, required=True, help="what preprocess.py wrote")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    batches.write_files(args.inputs, args.output)


def msame(parser, arguments) -> None:
    """Write msame's times as ais_bench writes its own, for the report."""
    from npukit import files
    from npukit.judge import performance

    parser.add_argument("log", type=Path, help="what msame printed")
    parser.add_argument("summary", type=Path)
    args = parser.parse_args(arguments)
    files.write_json(args.summary, performance.msame_summary(args.log))


def merge(parser, arguments) -> None:
    """Put the runs of several offline models together: outputs in one folder, times in one summary."""
    from npukit.judge import performance

    parser.add_argument("--parts", type=Path, required=True, help="<name>/ and <name>_summary.json of each run")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    performance.merge(args.parts, args.output)


if __name__ == "__main__":
    run(main)
