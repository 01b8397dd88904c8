#!/usr/bin/env python3
"""Time SST-2 dev through full-size random BERT-base three ways, in one run, and print the ratios.

    fixed     the original's recipe: filled up to 128 pieces, batch size 8
    gears     lengths in gears
    pipeline  transformers.pipeline(batch_size=32), which pads each batch to its longest sentence

Tokenisation, loading the model and writing the answers are in every time; compiling is in none. The answers have to be equal.
Called by `make bench`, which makes the two runs whose stages are timed again here.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import sst2
from npukit import command, ragged
from npukit.errors import JobFailed
from npukit.samples import load, read_outputs

AT_LEAST = {"fixed": 4.0, "pipeline": 1.8}  # how many times faster gears have to be
CLOSE = 1e-3  # logits further apart than this, of the largest, are another answer


def main() -> None:
    args = options()
    sentences = [s.text for s in sst2.read(Path(recorded(args.fixed, "../inputs", "--text_file")))]
    seconds, logits = {}, {}
    for name, run in (("fixed", args.fixed), ("gears", args.gears)):
        seconds[name], logits[name] = stages(run, len(sentences))
    seconds["pipeline"], logits["pipeline"] = pipeline(args.fixed, sentences)
    for name in seconds:
        print(f"{name:9}{len(sentences) / seconds[name]:8.1f} sentences/s{seconds[name] / seconds['gears']:8.2f} times as long as gears")
    judge(seconds, logits)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--fixed", type=Path, required=True, help="the run's folder, out/.../bs<N>")
    parser.add_argument("--gears", type=Path, required=True)
    args = parser.parse_args()
    args.fixed, args.gears = args.fixed.resolve(), args.gears.resolve()  # as the recorded commands name them
    return args


def recorded(run: Path, stage: str, flag: str | None = None) -> str:
    """Return the command that a stage ran, or the value of one of its flags."""
    words = json.loads((run / stage / "record.json").read_text())["command"]
    return words if flag is None else shlex.split(words)[shlex.split(words).index(flag) + 1]


def stages(run: Path, samples: int) -> tuple[float, np.ndarray]:
    """Run a run's preprocess and infer again; return the seconds and the logits [samples, 2]."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for stage, place in (("../inputs", "inputs"), ("infer", "infer")):
            os.makedirs(Path(folder, place))
            words = recorded(run, stage).replace(str(run.parent / "inputs"), str(Path(folder, "inputs")))
            subprocess.run(shlex.split(words), cwd=Path(folder, place), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        outputs, order = Path(folder, "infer", "outputs"), Path(folder, "infer", "batches", "order.npy")
        return seconds, ragged.read_outputs(outputs, load(order)) if order.exists() else read_outputs(outputs, samples)


def pipeline(run: Path, sentences: list[str]) -> tuple[float, np.ndarray]:
    """Run transformers' own pipeline on the same weights; return the seconds and the logits [samples, 2]."""
    began = time.perf_counter()
    import transformers

    weights, tokenizer = run.parent / "pth2onnx" / "weights", Path(recorded(run, "../inputs", "--tokenizer_path"))
    net = transformers.BertForSequenceClassification.from_pretrained(weights)
    classify = transformers.pipeline("text-classification", model=net, tokenizer=transformers.AutoTokenizer.from_pretrained(tokenizer),
                                     device="cpu")
    answers = classify(sentences, batch_size=32, top_k=None, function_to_apply="none")
    seconds = time.perf_counter() - began
    return seconds, np.array([[score["score"] for score in sorted(answer, key=lambda s: s["label"])] for answer in answers])


def judge(seconds: dict[str, float], logits: dict[str, np.ndarray]) -> None:
    """Raise JobFailed where the answers differ or gears are not as much faster as they have to be."""
    scale = max(1.0, float(np.abs(logits["fixed"]).max()))
    for name, values in logits.items():
        difference = float(np.abs(values - logits["fixed"]).max()) / scale
        if difference > CLOSE:
            raise JobFailed(f"{name} answers otherwise than fixed: the logits are {difference:.1e} of the largest apart")
    slow = [f"{seconds[name] / seconds['gears']:.2f} times {name} (at least {times} are due)"
            for name, times in AT_LEAST.items() if seconds[name] / seconds["gears"] < times]
    if slow:
        raise JobFailed(f"gears reach only {' and '.join(slow)}")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    command.run(main)
