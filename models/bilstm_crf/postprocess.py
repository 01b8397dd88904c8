#!/usr/bin/env python3
"""Decode the tag scores, print the figures in the original's layout and a strict F1 behind them, and write the report.

README, "Verify the inference", step 2. The "acc" that the original prints is precision.

Reads   --infer_results  batch_00000_0.npy ..., float32 [batch, max_seq_len, 33], from infer.sh; or, by hand,
                         data_00000000_0.npy ..., float32 [1, max_seq_len, 33], from ais_bench
        --annotations    label.txt, from preprocess.py
        --transitions    transitions.npy, from pth2onnx.py
        with --report: the folders of the stages before, found from --run
Writes  with --report: report.json, and predictions.jsonl beside it, [category, first, last] of each sentence's whole spans
Source  ModelZoo-PyTorch b3af873, ACL_PyTorch/built-in/nlp/BiLSTM_CRF_PyTorch/bilstm_postprocess.py
"""
import json
from pathlib import Path

import numpy as np

import crf_decode
from cluener import TAGS, entities
from crf_decode import predict, read_labels, score, true_tags
from npukit import command
from npukit.corpus.batches import read_outputs
from npukit.corpus.store import load
from npukit.errors import UserError
from npukit.judge import report


def main() -> None:
    args = options()
    labels = read_labels(args.annotations)
    lengths = np.array([label["lens"][0] for label in labels])
    features = read_outputs(args.infer_results, len(labels))
    transitions = read_transitions(args.transitions)
    if features.ndim != 3 or features.shape[1] < lengths.max() or features.shape[2] != len(transitions):
        raise UserError(f"{args.infer_results} holds features {list(features.shape[1:])}; expected at least "
                        f"[{lengths.max()}, {len(transitions)}] for these annotations and transitions")
    predicted = predict(features, lengths, transitions)
    overall, by_category = score(predicted, true_tags(labels))
    print_as_original(overall, by_category)
    print(f"strict_f1: {overall['strict_f1']}")
    if args.report:
        report.finish(args, crf_decode.task(labels, lengths, transitions), features, "f1", {**overall, "by_category": by_category},
                      map(entities, predicted), [features.shape[1]])


def options():
    parser = command.parser(__doc__)
    parser.add_argument("--infer_results", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--transitions", type=Path, help="default: beside --infer_results, as in the original")
    report.add_options(parser, __file__)
    args = parser.parse_args()
    if args.report and not args.run:
        parser.error("--report needs --run, the folder that the report is about")
    if args.transitions is None:
        args.transitions = (args.run.parent / "pth2onnx" if args.run else args.infer_results.parent) / "transitions.npy"
    return args


def read_transitions(path: Path) -> np.ndarray:
    """Return the CRF's transitions, float32 [33, 33], [to, from]."""
    if not path.is_file():
        raise UserError(f"{path} is not there; pth2onnx.py writes it beside the graph, --transitions names another place")
    transitions = load(path)
    if transitions.shape != (len(TAGS), len(TAGS)):
        raise UserError(f"{path} holds an array {list(transitions.shape)}; expected transitions [{len(TAGS)}, {len(TAGS)}]")
    return transitions


def print_as_original(overall: dict, by_category: dict) -> None:
    """Print precision (as "acc"), recall and F1 as bilstm_postprocess.py does."""
    print("metrics:")
    print({"acc": overall["precision"], "recall": overall["recall"], "f1": overall["f1"]})
    print("metrics of per category:")
    print(json.dumps({category: {"acc": round(s["precision"], 4), "recall": round(s["recall"], 4), "f1": round(s["f1"], 4)}
                      for category, s in by_category.items()}, indent=4))


if __name__ == "__main__":
    command.run(main)
