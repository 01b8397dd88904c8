#!/usr/bin/env python3
"""Compare the logits with the labels, print the accuracy, and write the report.

README, "Inference", step 2.3.

Reads   --output_path  batch_00000_0.npy ..., float32 [batch, 2], from infer.sh; or, by hand, data_00000000_0.npy ...,
                       float32 [1, 2], from ais_bench
        --label_path   labels.json, from preprocess.py
        with --report: the folders of the stages before, found from --run
Writes  with --report: report.json, and predictions.jsonl beside it, the label of each sentence
Source  ModelZoo-PyTorch 7296baa, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/postprocess.py
"""
import argparse
from pathlib import Path

import numpy as np

import sst2
from npukit import command, files
from npukit.corpus import batches, store
from npukit.errors import UserError
from npukit.judge import report


def main() -> None:
    args = options()
    labels = sst2.read_labels(args.label_path)
    logits = batches.read_outputs(args.output_path, len(labels))
    if logits.shape != (len(labels), 2):
        raise UserError(f"{args.output_path} holds logits {list(logits.shape)}, expected [{len(labels)}, 2]")
    accuracy = sst2.accuracy(logits, labels)
    print("accuracy:", accuracy)
    if args.report:
        answers = args.report.with_name("predictions.jsonl")
        files.write_text(answers, "".join(f"{label}\n" for label in logits.argmax(1)))
        write_report(args, logits, accuracy, answers)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--output_path", type=Path, required=True)
    parser.add_argument("--label_path", type=Path, required=True)
    report.add_options(parser)
    return parser.parse_args()


def write_report(args: argparse.Namespace, logits: np.ndarray, accuracy: float, answers: Path) -> None:
    """Judge the logits against PyTorch's and write the report."""
    run = report.Run(args.run)
    closeness = sst2.task(run.inputs).compare(logits, store.load(run.export / "reference.npy"))
    report.write(args.report, run.report(
        metric="accuracy", metrics={"accuracy": accuracy}, fidelity=closeness, seq_lens=store.read_seq_lens(run.inputs),
        original=files.read_json(Path(__file__).with_name("original.json")), loop=args.loop, predictions=answers))


if __name__ == "__main__":
    command.run(main)
