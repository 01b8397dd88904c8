#!/usr/bin/env python3
"""Compare the offline model's word vectors with the ONNX graph's and with PyTorch's, and write the report.

README, "Inference", step 4.3. Every word counts by itself; what lies behind a sentence does not.

Reads   --onnx_model   pth2onnx.py's graph; reference.npy beside it, where there is one: PyTorch's vectors
        --onnx_input   preprocess.py's --bin_path
        --om_out       batch_00000_0.npy ..., float32 [batch, gear, 1024], from infer.sh; or, by hand,
                       data_00000000_0.npy ..., float32 [1, word_len, 1024], from ais_bench
        with --report: the folders of the stages before, found from --run
Writes  with --report: report.json, and predictions.jsonl beside it: the words of each sentence, their smallest cosine
Source  ModelZoo-PyTorch 2edbfb6, ACL_PyTorch/contrib/nlp/ELMo/elmo_postprocess.py
"""
import argparse
from pathlib import Path

import numpy as np

import vectors
from npukit import command
from npukit.corpus import batches, store
from npukit.errors import JobFailed, UserError
from npukit.judge import fidelity, report


def main() -> None:
    args = options()
    sentences = vectors.read(args.onnx_input)
    ours = batches.read_flat_outputs(args.om_out, sentences.lengths)
    references = {"ONNX": sentences.vectors(vectors.Graphs(args.onnx_model, sentences.seq_lens))}
    if (path := args.onnx_model.with_name("reference.npy")).exists():
        references["PyTorch"] = store.load(path)
    worst = 1.0
    for name, reference in references.items():
        if ours.shape != reference.shape:
            raise UserError(f"{args.om_out} holds vectors {list(ours.shape)}, {name}'s are {list(reference.shape)}; "
                            "run the stages on the same inputs")
        found = vectors.cosines(ours, reference)
        worst = min(worst, found["cosine_min"])
        print(f"cosine similarity to {name}: mean {found['cosine_mean']:.6f}, minimum {found['cosine_min']:.6f}")
    if args.report:
        task = sentences.task(references["PyTorch"])
        report.finish(args, task, ours, "cosine_mean", task.metrics(ours), worst_words(sentences, ours, references["PyTorch"]),
                      sentences.seq_lens)
    elif not worst >= fidelity.COSINE_KEPT:
        raise JobFailed(f"the smallest cosine is {worst:.6f}, the bar is {fidelity.COSINE_KEPT}")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--onnx_model", type=Path, required=True)
    parser.add_argument("--onnx_input", type=Path, required=True)
    parser.add_argument("--om_out", type=Path, required=True)
    report.add_options(parser, __file__)
    return parser.parse_args()


def worst_words(sentences: vectors.Sentences, ours: np.ndarray, reference: np.ndarray) -> list[dict]:
    """Return the number of words of each sentence, and the smallest cosine of one with PyTorch's."""
    starts = np.cumsum(sentences.lengths) - sentences.lengths
    smallest = np.minimum.reduceat(fidelity.cosines(ours, reference, np.arange(len(ours))), starts)
    return [{"words": int(words), "cosine": round(float(cosine), 2)} for words, cosine in zip(sentences.lengths, smallest)]


if __name__ == "__main__":
    command.run(main)
