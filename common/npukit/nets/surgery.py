"""What modify_onnx.py does with every BERT: shapes fixed, attention rewritten, both proved on the whole corpus."""
import argparse
from pathlib import Path

import numpy as np

from npukit import command, graph
from npukit.corpus import store
from npukit.errors import UserError
from npukit.files import write_json
from npukit.graph.blocks import blocks_of
from npukit.judge import ledger
from npukit.nets import bert, fusions

PROOF = 2  # batches of samples that simplification is proved on; the ledger takes all of them


def options(doc: str) -> argparse.Namespace:
    """Read IN, OUT and what simplification and proof need."""
    parser = command.parser(doc)
    parser.add_argument("graph", type=Path, metavar="IN")
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--batch_size", type=int, default=1, help="of the static shapes, with --inputs")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's output, to simplify for and to prove on")
    return parser.parse_args()


def modify(args: argparse.Namespace, passes: list, task: ledger.Task | None) -> None:
    """Write OUT, IN after the passes; say what each did.

    passes  of npukit.graph
    task    what the answers mean, with --inputs: then IN is simplified to static shapes first (in gears the length stays
            open), as the originals do with `python3 -m onnxsim`
    writes  with --inputs also simplified.onnx and, beside OUT, ledger.json: what both forms score; fusions.json: what
            ATC fuses at each length, as documents say
    raises  JobFailed where a form is not the network
    """
    if not args.inputs:
        apply(args.graph, passes, args.output)
        return
    proof, simplified = Proof(args), args.output.with_name("simplified.onnx")
    graph.simplify(args.graph, simplified, {name: proof.shape for name in proof.samples.flat}, proof.first(PROOF * args.batch_size))
    apply(simplified, passes, args.output)
    ledger.write(args.output.with_name("ledger.json"), [
        ledger.line(stage, task, proof.answers(path), proof.reference)
        for stage, path in (("simplified", simplified), ("modified", args.output))])
    write_json(args.output.with_name("fusions.json"), fusion_rows(args.output, args.batch_size, proof.seq_lens))


def apply(before: Path, passes: list, after: Path) -> None:
    """Edit one graph, print what each pass did."""
    model, said = graph.apply(graph.load(before), passes)
    graph.save(model, after)
    print("\n".join(said))


def fusion_rows(path: Path, batch_size: int, seq_lens: list[int]) -> list[dict]:
    """Return npukit.nets.fusions' row for each length of a canonical graph."""
    block = blocks_of(graph.load(path))[0]
    return [fusions.row(fusions.Attention(block.heads, block.head_size), batch_size, length) for length in seq_lens]


class Proof:
    """The corpus as the graph takes it, and what PyTorch answered.

    shape  of the inputs: [N, length], or [N, "L"] in gears
    """

    def __init__(self, args: argparse.Namespace):
        manifest, self.samples = store.read(args.inputs)
        self.seq_lens = manifest["plan"]["lengths"]
        self.shape = [args.batch_size, self.seq_lens[0] if len(self.seq_lens) == 1 else "L"]
        self.reference = store.load(args.graph.with_name("reference.npy"))
        if len(self.reference) != len(self.samples):
            raise UserError(f"{args.inputs} holds {len(self.samples)} samples, reference.npy beside {args.graph} "
                            f"{len(self.reference)} answers; run pth2onnx.py on these inputs")

    def first(self, count: int) -> dict[str, np.ndarray]:
        """Return the first samples, int64 [count, length], padded to the graph's length."""
        rows = np.arange(min(count, len(self.samples)))
        return self.samples.padded(rows, self.shape[1] if self.shape[1] != "L" else self.samples.lengths[rows].max())

    def answers(self, path: Path) -> np.ndarray:
        """Return a graph's answers to all samples, of the reference's shape."""
        size, length = self.shape
        return bert.graph_logits(path, self.samples, size, None if length == "L" else [length])
