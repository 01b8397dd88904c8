#!/usr/bin/env python3
"""Compare the logits with the labels, print the accuracy, and write the report.

README, "Inference", step 2.3.

Reads   --output_path  data_00000000_0.npy ..., float32 [1, 2], from ais_bench; or batch_00000_0.npy ..., float32
                       [batch, 2], with the order.npy of preprocess.py or of infer.sh
        --label_path   labels.json, from preprocess.py
        with --report: the folders of the stages before, found from --run
Writes  with --report: report.json, and predictions.jsonl beside it, the label of each sentence
Source  ModelZoo-PyTorch 7296baa, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/postprocess.py
"""
import argparse
from pathlib import Path

import numpy as np

import sst2
from npukit import command
from npukit.corpus import ragged
from npukit.errors import UserError
from npukit.judge import report


def main() -> None:
    args = options()
    labels = sst2.read_labels(args.label_path)
    logits = read_logits(args, len(labels))
    if logits.shape != (len(labels), 2):
        raise UserError(f"{args.output_path} holds logits {list(logits.shape)}, expected [{len(labels)}, 2]")
    accuracy = sst2.accuracy(logits, labels)
    print("accuracy:", accuracy)
    if args.report:
        report.finish(args, sst2.task(args.run.parent / "inputs"), logits, "accuracy", {"accuracy": accuracy}, logits.argmax(1).tolist(),
                      ragged.read_seq_lens(args.run.parent / "inputs"))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--output_path", type=Path, required=True)
    parser.add_argument("--label_path", type=Path, required=True)
    parser.add_argument("--order", type=Path, help="order.npy, where the outputs are batches")
    report.add_options(parser, __file__)
    return parser.parse_args()


def read_logits(args: argparse.Namespace, samples: int) -> np.ndarray:
    """Return float32 [samples, 2] in the order of the corpus, whichever way they were run."""
    order = args.order or (args.run / "infer" / "batches" / "order.npy" if args.run else None)
    return ragged.read_answers(args.output_path, samples, order)


if __name__ == "__main__":
    command.run(main)
