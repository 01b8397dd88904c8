#!/usr/bin/env python3
"""Rewrite the attention of BERT's graph into the form that ATC's big kernels match, and prove it.

README, "Inference", step 1.3: `modify_onnx.py IN OUT`. With --inputs the graph is first simplified to static shapes, as the
original does with `python3 -m onnxsim`; with several lengths (gears) the length stays open.

Reads   the exported graph; --inputs, preprocess.py's folder; reference.npy beside the exported graph
Writes  OUT; with --inputs also simplified.onnx and ledger.json, what both forms score and how close they are to PyTorch
Source  ModelZoo-PyTorch ad818b5, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/modify_onnx.py, which calls
        MagicONNX's BertBigKernelOptimizer; the passes are npukit.graph's own
"""
import sst2
from npukit import command, graph
from npukit.nets import surgery

PASSES = [graph.clamp_mask, graph.additive_mask, graph.big_kernel, graph.int32_constants]


def main() -> None:
    args = surgery.options(__doc__)
    surgery.modify(args, PASSES, sst2.task(args.inputs) if args.inputs else None)


if __name__ == "__main__":
    command.run(main)
