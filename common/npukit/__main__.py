"""What infer.sh, `make bench` and the steps by hand call: python -m npukit <verb>."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from npukit.command import run


def main() -> int | None:
    verbs = {"batch": batch, "files": sample_files, "msame": msame, "merge": merge, "compare": compare, "pipeline": pipeline}
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


def compare(parser, arguments) -> None:
    """Time the inference of runs again, in turns, and print rates, ratios, and whether the answers are equal."""
    from npukit.judge import compare

    parser.add_argument("runs", type=Path, nargs="+", help="out/.../bs<N>, or a folder with runs below it, of which the best counts")
    parser.add_argument("--rounds", type=int, default=2, help="how often; the fastest of each counts")
    parser.add_argument("--at_least", type=float, default=0, help="how many times as fast as the first the last has to be")
    parser.add_argument("--equal", action="store_true", help="fail where answers differ")
    args = parser.parse_args(arguments)
    print(compare.compare(list(map(compare.runs_below, args.runs)), args.rounds, args.at_least, args.equal, sys.stdout.isatty()))


def pipeline(parser, arguments) -> None:
    """Time transformers.pipeline beside a run of a BERT, on the same weights and samples."""
    from npukit.judge.compare import runs_below
    from npukit.nets import pipeline

    parser.add_argument("task", choices=("text-classification", "token-classification"))
    parser.add_argument("run", type=Path, help="out/.../bs<N>, or a folder with one run below it")
    parser.add_argument("--tokenizer", type=Path, required=True, help="the folder that preprocess.py was given")
    parser.add_argument("--at_least", type=float, default=0, help="how many times as fast the run has to be")
    args = parser.parse_args(arguments)
    pipeline.beside(runs_below(args.run)[0], args.task, args.tokenizer, args.at_least)


if __name__ == "__main__":
    run(main)
