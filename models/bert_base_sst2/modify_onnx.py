#!/usr/bin/env python3
"""Rewrite the attention of BERT's graph into the form that ATC's big kernels match, and prove it.

README, "Inference", step 1.3: `modify_onnx.py IN OUT`. With --inputs the graph is first simplified to static shapes, as the
original does with `python3 -m onnxsim`; with several lengths (gears) the length stays open.

Reads   the exported graph; --inputs, preprocess.py's folder; reference.npy beside the exported graph
Writes  OUT; with --inputs also simplified.onnx and ledger.json, what both forms score and how close they are to PyTorch
Source  ModelZoo-PyTorch ad818b5, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/modify_onnx.py, which calls
        MagicONNX's BertBigKernelOptimizer; the passes are npukit.graph's own
"""
import argparse
from pathlib import Path

import numpy as np

import sst2
from npukit import bert, command, fidelity, files, graph, ragged
from npukit.errors import JobFailed, UserError
from npukit.graph import proof
from npukit.samples import load

PASSES = [graph.clamp_mask, graph.additive_mask, graph.big_kernel, graph.int32_constants]
PROOF = 2  # batches of samples that simplification is proved on; the ledger takes all of them


def main() -> None:
    args = options()
    before = args.graph
    samples = Samples(args) if args.inputs else None
    if samples:
        before = Path("simplified.onnx")
        graph.simplify(args.graph, before, {name: samples.shape for name in samples.arrays}, samples.first(PROOF * args.batch_size))
    model, said = graph.apply(graph.load(before), PASSES)
    graph.save(model, args.output)
    print("\n".join(said))
    if samples:
        ledger = [samples.entry("simplified", before), samples.entry("modified", args.output)]
        files.write_json(args.output.with_name("ledger.json"), ledger)
        for entry in ledger:
            require_kept(entry)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("graph", type=Path, metavar="IN")
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--batch_size", type=int, default=1, help="of the static shapes, with --inputs")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's output, to simplify for and to prove on")
    return parser.parse_args()


class Samples:
    """The corpus as the graph takes it, and what PyTorch answered.

    shape  of the inputs: [N, length], or [N, "L"] in gears
    """

    def __init__(self, args: argparse.Namespace):
        _, self.arrays, self.lengths = ragged.read(args.inputs)
        seq_lens = [int(n) for n in (args.inputs / "seq_lens.txt").read_text().split()]
        self.shape = [args.batch_size, seq_lens[0] if len(seq_lens) == 1 else "L"]
        self.labels = sst2.read_labels(args.inputs / "labels.json")
        self.reference = load(args.graph.with_name("reference.npy"))
        if not len(self.reference) == len(self.labels) == len(self.lengths):
            raise UserError(f"{args.inputs} holds {len(self.lengths)} samples and {len(self.labels)} labels, reference.npy beside "
                            f"{args.graph} {len(self.reference)} answers; run pth2onnx.py on these inputs")

    def first(self, count: int) -> dict[str, np.ndarray]:
        """Return the first samples, int64 [count, length], filled up with zeros to the graph's length."""
        length = self.shape[1] if self.shape[1] != "L" else self.lengths[:count].max()
        return {name: fill(array[:count], length) for name, array in self.arrays.items()}

    def entry(self, stage: str, path: Path) -> dict:
        """Run a graph on all samples and return its line of the ledger."""
        if self.shape[1] == "L":
            session = proof.session_of(path)
            logits = bert.run_batches(lambda feeds: session.run(None, feeds)[0], self.arrays, self.lengths, self.shape[0])
        else:
            logits = proof.run(path, self.first(len(self.lengths)))[0]
        closeness = fidelity.compare(logits, self.reference, np.arange(len(logits)), "PyTorch fp32")
        return {"stage": stage, "metrics": {"accuracy": sst2.accuracy(logits, self.labels)}, "fidelity": closeness}


def fill(array: np.ndarray, length: int) -> np.ndarray:
    """Return the array [N, L] cut or filled with zeros to the length; samples are never longer."""
    filled = np.zeros((len(array), length), dtype=array.dtype)
    width = min(length, array.shape[1])
    filled[:, :width] = array[:, :width]
    return filled


def require_kept(entry: dict) -> None:
    """Raise JobFailed, with the stage's name, where it lost more than fp32 in another order may."""
    for gate in fidelity.gates(entry["fidelity"], "fp32"):
        if not gate["passes"]:
            raise JobFailed(f"the {entry['stage']} graph is not the network: {gate['name']} is {gate['value']}, allowed "
                            f"{gate['limit']} (worst sample {entry['fidelity']['worst_sample']})")


if __name__ == "__main__":
    command.run(main)
