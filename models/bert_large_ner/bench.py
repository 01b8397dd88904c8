#!/usr/bin/env python3
"""Time sentences of CoNLL-2003's lengths through full-size random BERT-large, in one run, and print the ratios.

    fixed         the original's recipe: filled up to 512 pieces, batch size 1
    gears         lengths in gears
    pipeline <N>  transformers.pipeline for token classification at several batch sizes, each padded to its longest sentence

All on the same sentences; the answers have to be equal. Tokenisation is in every time. What is paid once is in none: loading
1.3 GB of weights takes as long as a hundred of these sentences, of which the corpus has thousands. Called by `make bench`, which
makes the two runs whose stages are timed again here.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np

import conll2003
import recipes
from npukit import command
from npukit.corpus import batches
from npukit.judge import bench

AT_LEAST = {"fixed": 20.0, "pipeline": 1.7}  # how many times faster gears have to be; pipeline at its best batch size
PIPELINE = (1, 4, 8, 16, 32)


def main() -> None:
    args = options()
    words = recipes.read_words(args.fixed.parent / "inputs" / "words.npy")
    samples = int(words[-1, 1]) + 1
    seconds, answers = {}, {}
    for name, run in (("fixed", args.fixed), ("gears", args.gears)):
        taken, logits = bench.again(run, lambda infer: batches.read_outputs(infer / "outputs", samples))
        seconds[name], answers[name] = taken["preprocess"] + taken["device"], logits[words[:, 1], words[:, 2]]
    bench.require_same("gears", answers["gears"], answers["fixed"])
    for size, taken, scores in pipeline(args.fixed, PIPELINE):
        seconds[f"pipeline {size}"] = taken
        bench.require_same(f"pipeline {size}", scores, softmax(answers["fixed"]).max(-1))
    seconds["pipeline"] = min(taken for name, taken in seconds.items() if name.startswith("pipeline "))
    bench.judge(seconds, "gears", AT_LEAST, int(words[-1, 0]) + 1)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--fixed", type=Path, required=True, help="the run's folder, out/.../bs<N>")
    parser.add_argument("--gears", type=Path, required=True)
    args = parser.parse_args()
    args.fixed, args.gears = args.fixed.resolve(), args.gears.resolve()  # as the recorded commands name them
    return args


def pipeline(run: Path, sizes: tuple[int, ...]):
    """Yield (batch size, seconds, the best tag's probability for each word [W]) of transformers' own pipeline, same weights."""
    import transformers

    path = Path(bench.recorded(run, "../inputs", "--input_file"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.recorded(run, "../inputs", "--model_name_from_hub"))
    transformers.logging.disable_progress_bar()
    net = transformers.BertForTokenClassification.from_pretrained(run.parent / "pth2onnx" / "weights")
    tag = transformers.pipeline("token-classification", model=net, tokenizer=tokenizer, device="cpu", ignore_labels=[])
    sentences = [" ".join(sentence.words) for sentence in conll2003.read(path)]
    starts = [np.cumsum([0, *(len(word) + 1 for word in text.split(" "))])[:-1] for text in sentences]
    tag(sentences[:1])
    for size in sizes:
        began = time.perf_counter()
        answers = tag(sentences, batch_size=size)
        seconds = time.perf_counter() - began
        scores = [{piece["start"]: piece["score"] for piece in answer} for answer in answers]
        yield size, seconds, np.array([found[start] for found, places in zip(scores, starts) for start in places])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits [M, T]."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    command.run(main)
