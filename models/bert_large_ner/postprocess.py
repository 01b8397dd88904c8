#!/usr/bin/env python3
"""Turn the logits into tags, print what they score and the original's accuracy, and write the report.

README, "Inference", step 4.

Reads   --result_dir  batch_00000_0.npy ..., float32 [batch, length, 9], from infer.sh; or, by hand,
                      data_00000000_0.npy ..., float32 [1, seq_len, 9], from ais_bench
        --anno_file   words.npy, from preprocess.py, with its manifest.json beside it
        --torch_aie   logits.npy and result.json, from run_torch_aie.py on the same text
        with --report: the folders of the stages before, found from --run
Writes  with --report: report.json, and predictions.jsonl beside it, the tags of each sentence
Source  ModelZoo-PyTorch 66ad853, ACL_PyTorch/contrib/nlp/bert_large_NER/bert_metric.py
"""
import argparse
from pathlib import Path

import numpy as np

import recipes
from conll2003 import TAGS
from npukit import command, files
from npukit.corpus import batches, store
from npukit.corpus.store import load
from npukit.errors import UserError
from npukit.judge import report


def main() -> None:
    args = options()
    words = recipes.read_words(args.anno_file)
    manifest = files.read_json(args.anno_file.with_name("manifest.json"))
    logits = batches.read_outputs(args.result_dir, manifest["samples"])
    require_fit(logits, words, args.result_dir)
    tags = recipes.predicted(logits, words)
    scores, by_type = recipes.score(words, tags)
    show(scores, by_type)
    if args.report:
        report.finish(args, recipes.task_of(words), logits, recipes.METRIC[manifest["corpus"]["recipe"]], {**scores, "by_type": by_type},
                      recipes.by_sentence(words, tags), store.read_seq_lens(args.anno_file.parent),
                      {"torch_aie": torch_aie(args, words)} if args.torch_aie else None)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--result_dir", type=Path, required=True)
    parser.add_argument("--anno_file", type=Path, required=True)
    parser.add_argument("--torch_aie", type=Path, help="the other route's folder, for the report")
    report.add_options(parser, __file__)
    return parser.parse_args()


def require_fit(logits: np.ndarray, words: np.ndarray, folder: Path) -> None:
    """Raise UserError for logits that do not hold every word's place."""
    samples, length = words[:, 1].max() + 1, words[:, 2].max() + 1
    if logits.ndim != 3 or logits.shape[0] < samples or logits.shape[1] < length or logits.shape[2] != len(TAGS):
        raise UserError(f"{folder} holds logits {list(logits.shape)}, expected [{samples}, {length} or more, {len(TAGS)}]")


def show(scores: dict, by_type: dict) -> None:
    """Print precision, recall and F1 of all entities and of each type, and the original's accuracy beside that of no answer."""
    for name, line in (("all", scores), *sorted(by_type.items())):
        print(f"{name:5}precision {line['precision']:7.2%}  recall {line['recall']:7.2%}  F1 {line['f1']:7.2%}")
    print(f"F1 as conlleval counts: {scores['conlleval_f1']:.2%}")
    print(f"Accuracy: {scores['token_accuracy']:.2%} (O everywhere: {scores['all_o_accuracy']:.2%})")


def torch_aie(args: argparse.Namespace, words: np.ndarray) -> dict:
    """Return the other route's part of the report.

    With the original's recipe it is called with two inputs swapped: PyTorch has answered to something else, and there is no fidelity.
    """
    result, logits = files.read_json(args.torch_aie / "result.json"), load(args.torch_aie / "logits.npy")
    require_fit(logits, words, args.torch_aie)
    task, fidelity = recipes.task_of(words), None
    if result["recipe"] == "npukit":
        fidelity = task.compare(logits, load(args.run.parent / "pth2onnx" / "reference.npy"))
    return {"command": files.read_json(args.torch_aie / "record.json")["command"],
            **{name: result[name] for name in ("backend", "precision", "samples_per_s")},
            "metrics": task.metrics(logits), "fidelity": fidelity}


if __name__ == "__main__":
    command.run(main)
