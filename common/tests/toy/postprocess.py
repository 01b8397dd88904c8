"""Logits -> accuracy, and the report."""
from pathlib import Path

import numpy as np
import toy

from npukit import command
from npukit.corpus.batches import read_outputs
from npukit.judge import ledger, report


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--infer_results", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    report.add_options(parser, __file__)
    args = parser.parse_args()
    labels = np.loadtxt(args.labels)
    logits = read_outputs(args.infer_results, len(labels))
    answers = Path("answers.txt")
    np.savetxt(answers, logits.argmax(1), fmt="%d")
    toy.linger("postprocess")
    accuracy = {"accuracy": float((logits.argmax(1) == labels).mean())}
    task = ledger.Task(lambda logits: (logits, np.arange(len(labels))), lambda logits: accuracy)
    report.finish(args, task, logits, "accuracy", accuracy, answers, [4])


if __name__ == "__main__":
    command.run(main)
