#!/usr/bin/env python3
"""Rewrite the attention of BERT's graph into the form that ATC's big kernels match, and prove it. The original has no such step.

README, "Convert the model", step 2: `modify_onnx.py IN OUT`. With --inputs the graph is first simplified to static shapes;
with several lengths (gears) the length stays open.

Reads   the exported graph; --inputs, preprocess.py's folder; reference.npy beside the exported graph
Writes  OUT; with --inputs also simplified.onnx and ledger.json, what both forms score and how close they are to PyTorch
"""
import answers
import window_files
from npukit import command, graph
from npukit.nets import surgery

PASSES = [graph.clamp_mask, graph.additive_mask, graph.big_kernel]


def main() -> None:
    args = surgery.options(__doc__)
    surgery.modify(args, PASSES, answers.task(window_files.read(args.inputs)[0]) if args.inputs else None)


if __name__ == "__main__":
    command.run(main)
