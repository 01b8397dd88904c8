"""Logits -> accuracy, and the report."""
from pathlib import Path

import numpy as np
import toy

from npukit import command, files
from npukit.corpus.batches import read_outputs
from npukit.judge import fidelity, report


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--infer_results", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    report.add_options(parser)
    args = parser.parse_args()
    labels, run = np.loadtxt(args.labels), report.Run(args.run)
    logits = read_outputs(args.infer_results, len(labels))
    answers = Path("answers.txt")
    np.savetxt(answers, logits.argmax(1), fmt="%d")
    toy.linger("postprocess")
    closeness = fidelity.compare(logits, np.load(run.export / "reference.npy"), np.arange(len(labels)), "numpy fp32")
    report.write(args.report, run.report(
        metric="accuracy", metrics={"accuracy": float((logits.argmax(1) == labels).mean())}, fidelity=closeness,
        seq_lens=[4], original=files.read_json(Path(__file__).with_name("original.json")), loop=args.loop, predictions=answers))


if __name__ == "__main__":
    command.run(main)
