#!/usr/bin/env python3
"""Time full-size random ELMo on the 1-Billion-Word held-out set, in one run, and print the ratios.

    original  the original's recipe, allennlp's graph: sentences of at most 8 words, one at a time
    short     the same sentences, exact, in gears and batches: at least 10 times as many a second
    corpus    a sample of all sentences, in gears and batches, against
    allennlp  its own Elmo on these, at each batch size, batches of like lengths: at least 1.3 times as many words a second

Times are the device's own: inference alone, models loaded and warm, batches made before. The answers of corpus and allennlp have
to be equal. Called by `make bench`, which makes the runs whose inference is timed again here.
"""
import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

import vectors
from npukit import command, files
from npukit.corpus import batches
from npukit.corpus.store import load
from npukit.errors import JobFailed, UserError
from npukit.judge import bench

AT_LEAST = {"original": 10.0, "allennlp": 1.3}  # times as fast as these
SIZES = "16,32,64,128"  # of allennlp's batches; smaller ones are slower by far


def main() -> None:
    args = options()
    alone, _ = inferred(args.original)
    short = {run.name: inferred(run)[0] for run in args.short}
    count = len(read(args.short[0]).lengths)
    if count != len(read(args.original).lengths):
        raise UserError(f"{args.short[0]} holds {count} sentences, {args.original} others; make both from the same --sample")
    show("original", count / alone, "sentences/s")
    ratios = {"original": alone / shown("short", short, count, "sentences/s")}
    sentences = read(args.corpus[0])
    timed = {run.name: inferred(run) for run in args.corpus}
    theirs, answers = allennlp(args, sentences)
    ours = shown("corpus", {name: seconds for name, (seconds, _) in timed.items()}, len(sentences.ids), "words/s")
    ratios["allennlp"] = shown("allennlp", theirs, len(sentences.ids), "words/s") / ours
    for name, ratio in ratios.items():
        print(f"{ratio:.2f} times {name} (at least {AT_LEAST[name]} are due)")
    judge(ratios, {name: found for name, (_, found) in timed.items()}, answers)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--original", type=Path, required=True, help="the run's folder, out/.../bs1")
    parser.add_argument("--short", type=Path, nargs="+", required=True, help="runs on the same sentences, by batch size")
    parser.add_argument("--corpus", type=Path, nargs="+", required=True, help="runs on a sample of all, by batch size")
    parser.add_argument("--oracle", type=Path, required=True, help="the Python that has allennlp")
    args = parser.parse_args()
    args.original, args.short, args.corpus = args.original.absolute(), absolute(args.short), absolute(args.corpus)
    return args


def absolute(paths: list[Path]) -> list[Path]:
    return [path.absolute() for path in paths]


def read(run: Path) -> vectors.Sentences:
    return vectors.read(run.parent / "inputs" / "input")


def inferred(run: Path) -> tuple[float, np.ndarray]:
    """Run a run's infer stage again; return the device's seconds, and every word's vector."""
    with tempfile.TemporaryDirectory() as folder:
        bench.call(shlex.split(bench.recorded(run, "infer")), Path(folder))
        seconds = sum(files.read_json(Path(folder, "outputs_summary.json"))["npu_compute_time_list"]) / 1000
        return seconds, batches.read_flat_outputs(Path(folder, "outputs"), read(run).lengths)


def allennlp(args: argparse.Namespace, sentences: vectors.Sentences) -> tuple[dict[str, float], np.ndarray]:
    """Return allennlp's seconds by batch size, and every word's vector, on the corpus run's weights."""
    export = args.corpus[0].parent / "pth2onnx"
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "ids.npz"), ids=sentences.ids, lengths=sentences.lengths)
        flags = ["--batch_sizes", SIZES, "--option_file", export / "options.json", "--weight_file", export / "weights.hdf5",
                 "--input_file", "ids.npz", "--output_file", "vectors.npy"]
        printed = bench.call([args.oracle, Path(__file__).with_name("oracle.py").absolute(), "time", *flags], Path(folder))
        return {f"bs{size}": seconds for size, seconds in json.loads(printed).items()}, load(Path(folder, "vectors.npy"))


def show(name: str, rate: float, unit: str) -> None:
    print(f"{name:14}{rate:10.2f} {unit}")


def shown(name: str, seconds: dict[str, float], count: int, unit: str) -> float:
    """Print the rate at each batch size and return the seconds of the best."""
    for size, taken in seconds.items():
        show(f"{name} {size}", count / taken, unit)
    return min(seconds.values())


def judge(ratios: dict[str, float], ours: dict[str, np.ndarray], theirs: np.ndarray) -> None:
    """Raise JobFailed where the answers differ or a ratio is not reached."""
    for name, found in ours.items():
        bench.require_same(name, found, theirs)
    if slow := [f"{ratio:.2f} times {name}" for name, ratio in ratios.items() if ratio < AT_LEAST[name]]:
        raise JobFailed(f"only {' and '.join(slow)}")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    command.run(main)
