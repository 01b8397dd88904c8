#!/usr/bin/env python3
"""Time questions of SQuAD's dev part through full-size random BERT-base twice, in one run, and print the ratio.

    fixed  the original's recipe: every window filled up to 512 pieces
    gears  lengths in gears

From the file of questions to the answers, loading the model included; compiling is in neither. The answers have to be the
same texts, and the logits equal. Called by `make bench`, which makes the two runs whose stages are timed again here.
"""
import argparse
import sys
import time
from pathlib import Path

import answers
import outputs
import window_files
from npukit import command
from npukit.corpus import batches, store
from npukit.errors import JobFailed
from npukit.judge import bench

AT_LEAST = {"fixed": 2.5}  # how many times faster gears have to be


def main() -> None:
    args = options()
    corpus, *_ = window_files.read(args.fixed.parent / "inputs")
    seconds, logits, texts = {}, {}, {}
    for name, run in (("fixed", args.fixed), ("gears", args.gears)):
        size, gears = int(run.name.removeprefix("bs")), store.read_seq_lens(run.parent / "inputs")
        taken, logits[name] = bench.again(run, lambda infer, size=size, gears=gears: outputs.read(
            infer / "outputs", corpus, size, batches.order_of(infer / "outputs"), gears))
        began = time.perf_counter()
        texts[name] = {question: best[0]["text"] for question, best in answers.predict(corpus, logits[name]).items()}
        seconds[name] = taken["preprocess"] + taken["infer"] + time.perf_counter() - began
    bench.require_same("gears", logits["gears"], logits["fixed"])
    if different := [question for question in texts["fixed"] if texts["fixed"][question] != texts["gears"][question]]:
        raise JobFailed(f"gears answer {len(different)} of {len(texts['fixed'])} questions otherwise, first {different[0]}")
    bench.judge(seconds, "gears", AT_LEAST, len(corpus.questions), "questions")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--fixed", type=Path, required=True, help="the run's folder, out/.../bs<N>")
    parser.add_argument("--gears", type=Path, required=True)
    args = parser.parse_args()
    args.fixed, args.gears = args.fixed.resolve(), args.gears.resolve()  # as the recorded commands name them
    return args


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    command.run(main)
