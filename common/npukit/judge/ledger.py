"""The ledger: what each form of the network scores on the real samples, and how close it is to PyTorch.

Every stage that changes the network's form (export, simplification, surgery) runs the corpus through it, adds a line and
fails where the form is not the network any more.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npukit import files
from npukit.errors import JobFailed
from npukit.judge import fidelity


@dataclass(frozen=True)
class Task:
    """What a network's answers, float [samples, ...], mean.

    decisions  answers -> (logits [M, T], the sample of each decision [M], ascending)
    metrics    answers -> {name: fraction}
    classes    False where the decisions are none, but vectors
    """

    decisions: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    metrics: Callable[[np.ndarray], dict[str, float]]
    classes: bool = True

    def compare(self, answers: np.ndarray, reference: np.ndarray) -> dict:
        """Return the fidelity (npukit.judge.fidelity.compare) of answers to PyTorch's."""
        logits, sample = self.decisions(answers)
        return fidelity.compare(logits, self.decisions(reference)[0], sample, "PyTorch fp32", self.classes)


def line(stage: str, task: Task, answers: np.ndarray, reference: np.ndarray | None = None) -> dict:
    """Return one line of the ledger; PyTorch's own has no reference and no fidelity."""
    return {"stage": stage, "metrics": task.metrics(answers), "fidelity": None if reference is None
            else task.compare(answers, reference)}


def write(path: Path, lines: list[dict]) -> None:
    """Write ledger.json, then raise JobFailed, with the stage's name, where one lost more than fp32 in another order may."""
    files.write_json(path, lines)
    for entry in lines:
        closeness = entry["fidelity"]
        for gate in fidelity.gates(closeness, "fp32") if closeness else []:
            if not gate["passes"]:
                raise JobFailed(f"the {entry['stage']} graph is not the network: {gate['name']} is {gate['value']}, allowed "
                                f"{gate['limit']} (worst sample {closeness['worst_sample']})")


def write_weights(folder: Path, kind: str, weights: Path, parameters: int) -> None:
    """Write weights.json: what the report calls the weights (random, shipped, own ...), the digest of their file, their number."""
    files.write_json(folder / "weights.json", {"kind": kind, "sha256": files.sha256(weights), "parameters": parameters})


def begin(folder: Path, task: Task, reference: np.ndarray, exported: np.ndarray) -> None:
    """Write PyTorch's answers (reference.npy) and the first two lines, PyTorch's and the exported graph's (ledger.json)."""
    np.save(folder / "reference.npy", reference)
    write(folder / "ledger.json", [line("torch", task, reference), line("onnx", task, exported, reference)])
