#!/usr/bin/env python3
"""Time allennlp's own Elmo beside runs on the same sentences and the same weights, and print words a second and the ratio.

Inference alone, models loaded and warm, batches of like lengths made before. The vectors have to be equal, and the best of the
runs has to be faster. Called by `make bench`.
"""
import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import vectors
from npukit import command
from npukit.corpus.store import load
from npukit.judge import compare

SIZES = "16,32,64,128"  # of allennlp's batches; smaller ones are slower by far


def main() -> None:
    args = options()
    runs = compare.runs_below(args.runs)
    sentences = vectors.read(runs[0].inputs / "input")
    seconds, theirs = allennlp(args.oracle, runs[0].export, sentences)
    inside = np.arange(sentences.lengths.max()) < sentences.lengths[:, None]
    best = 0.0
    for timed in map(compare.infer_again, runs):
        name, rate = f"batch size {timed.run.identity['batch_size']}", len(sentences.ids) / timed.seconds
        print(f"{name}: {rate:.2f} words/s", flush=True)
        compare.require_same(name, timed.answers[0][:, :inside.shape[1]][inside], theirs)
        best = max(best, rate)
    compare.require_ratio("allennlp", len(sentences.ids) / seconds, best, args.at_least, "words")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("runs", type=Path, help="a run's folder, or a folder with several below it")
    parser.add_argument("--oracle", type=Path, required=True, help="the Python that has allennlp")
    parser.add_argument("--at_least", type=float, default=0, help="times as many words a second")
    return parser.parse_args()


def allennlp(oracle: Path, export: Path, sentences: vectors.Sentences) -> tuple[float, np.ndarray]:
    """Return the seconds of allennlp's fastest batch size, and every word's vector, on the weights of a run's export."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "ids.npz"), ids=sentences.ids, lengths=sentences.lengths)
        flags = ["--batch_sizes", SIZES, "--option_file", export / "options.json", "--weight_file",
                 export / "weights.hdf5",
                 "--input_file", "ids.npz", "--output_file", "vectors.npy"]
        printed = compare.call([oracle.absolute(), Path(__file__).with_name("oracle.py").absolute(), "time", *flags],
                               Path(folder))
        return min(json.loads(printed).values()), load(Path(folder, "vectors.npy"))


if __name__ == "__main__":
    command.run(main)
