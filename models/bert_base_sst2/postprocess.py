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

import sst2
from npukit import command
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
        report.finish(args, sst2.task(args.run.parent / "inputs"), logits, "accuracy", {"accuracy": accuracy}, logits.argmax(1).tolist(),
                      store.read_seq_lens(args.run.parent / "inputs"))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--output_path", type=Path, required=True)
    parser.add_argument("--label_path", type=Path, required=True)
    report.add_options(parser, __file__)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
