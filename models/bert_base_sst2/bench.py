#!/usr/bin/env python3
"""Time SST-2 dev through full-size random BERT-base three ways, in one run, and print the ratios.

    fixed     the original's recipe: filled up to 128 pieces, batch size 8
    gears     lengths in gears
    pipeline  transformers.pipeline(batch_size=32), which pads each batch to its longest sentence

Tokenisation, loading the model and writing the answers are in every time; compiling is in none. The answers have to be equal.
Called by `make bench`, which makes the two runs whose stages are timed again here.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np

import sst2
from npukit import command
from npukit.corpus import batches
from npukit.judge import bench

AT_LEAST = {"fixed": 4.0, "pipeline": 1.8}  # how many times faster gears have to be


def main() -> None:
    args = options()
    sentences = [s.text for s in sst2.read(Path(bench.recorded(args.fixed, "../inputs", "--text_file")))]
    seconds, logits = {}, {}
    for name, run in (("fixed", args.fixed), ("gears", args.gears)):
        taken, logits[name] = bench.again(
            run, lambda infer: batches.read_outputs(infer / "outputs", len(sentences)))
        seconds[name] = taken["preprocess"] + taken["infer"]
    seconds["pipeline"], logits["pipeline"] = pipeline(args.fixed, sentences)
    for name in ("gears", "pipeline"):
        bench.require_same(name, logits[name], logits["fixed"])
    bench.judge(seconds, "gears", AT_LEAST, len(sentences))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--fixed", type=Path, required=True, help="the run's folder, out/.../bs<N>")
    parser.add_argument("--gears", type=Path, required=True)
    args = parser.parse_args()
    args.fixed, args.gears = args.fixed.resolve(), args.gears.resolve()  # as the recorded commands name them
    return args


def pipeline(run: Path, sentences: list[str]) -> tuple[float, np.ndarray]:
    """Run transformers' own pipeline on the same weights; return the seconds and the logits [samples, 2]."""
    began = time.perf_counter()
    import transformers

    weights, tokenizer = run.parent / "pth2onnx" / "weights", Path(bench.recorded(run, "../inputs", "--tokenizer_path"))
    net = transformers.BertForSequenceClassification.from_pretrained(weights)
    classify = transformers.pipeline("text-classification", model=net, tokenizer=transformers.AutoTokenizer.from_pretrained(tokenizer),
                                     device="cpu")
    answers = classify(sentences, batch_size=32, top_k=None, function_to_apply="none")
    seconds = time.perf_counter() - began
    return seconds, np.array([[score["score"] for score in sorted(answer, key=lambda s: s["label"])] for answer in answers])


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    command.run(main)
