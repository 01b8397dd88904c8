#!/usr/bin/env python3
"""Give BERT's graph a mask constant that half precision can hold and the attention that ATC's big kernels match; prove it.

README, "Inference", step 1: `modify_onnx.py IN OUT`. With --inputs the graph is first simplified to static shapes, as the
original does with `python -m onnxsim`; with several lengths (gears) the length stays open.

Reads   the exported graph; --inputs, preprocess.py's folder; reference.npy beside the exported graph
Writes  OUT; with --inputs also simplified.onnx and ledger.json, what both forms score and how close they are to PyTorch
Source  ModelZoo-PyTorch 66ad853, ACL_PyTorch/contrib/nlp/bert_large_NER/fix_onnx.py, which finds the mask's Mul by its 24
        readers and calls MagicONNX's BertBigKernelOptimizer; the passes are npukit.graph's own
"""
import recipes
from npukit import command, graph
from npukit.nets import surgery

PASSES = [graph.clamp_mask, graph.additive_mask, graph.big_kernel]


def main() -> None:
    args = surgery.options(__doc__)
    surgery.modify(args, PASSES, recipes.task(args.inputs) if args.inputs else None)


if __name__ == "__main__":
    command.run(main)
