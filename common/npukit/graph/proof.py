"""Proof that two graphs give the same answers: both run on the same samples, and the outputs are compared."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from npukit.errors import JobFailed, UserError
from npukit.judge import fidelity

BATCH = 32  # samples at a time where the graph leaves it open
Feeds = dict[str, np.ndarray]


def prove(before: Path | ir.Model, after: Path | ir.Model, feeds: Feeds, name: str, inside: np.ndarray | None = None) -> dict:
    """Return the fidelity of `after` to `before` (npukit.judge.fidelity.compare's dict), both fp32 on ONNX Runtime.

    feeds   input -> array [N, ...]: N real samples of a length that both graphs take
    name    what was done in between, for the message
    inside  bool [N, L], where given: the tokens that count, for outputs of a decision per token, [N, L, T]
    raises  JobFailed where an answer is not finite, is off by more than fp32 arithmetic in another order may be, or a
            decision flips: with the name, the worst sample and the numbers
    """
    reference, sample = decisions(run(before, feeds), inside)
    if not np.isfinite(reference).all():
        worst = int(sample[np.argwhere(~np.isfinite(reference))[0, 0]])
        raise JobFailed(f"{name} cannot be proved: the graph before it gives sample {worst} a value that is not finite")
    ours, _ = decisions(run(after, feeds), inside)
    closeness = fidelity.compare(ours, reference, sample, f"the graph before {name}")
    if not all(gate["passes"] for gate in fidelity.gates(closeness, "fp32")):
        raise JobFailed(f"{name} changed the answers: largest difference {closeness['max_abs']} where {closeness['tolerance']} "
                        f"is allowed, {closeness['flips']} flipped decisions, {closeness['not_finite']} values not finite; "
                        f"worst is sample {closeness['worst_sample']} of {len(next(iter(feeds.values())))}")
    return closeness


def decisions(outputs: list[np.ndarray], inside: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits [M, T], the sample of each [M], ascending) of outputs [N, ..., T] that share their last dimension."""
    rows = [output.reshape(len(output), -1, output.shape[-1]) for output in outputs]
    if len({row.shape[-1] for row in rows}) > 1:
        raise UserError(f"outputs {[list(output.shape) for output in outputs]} differ in their last dimension; prove one")
    if inside is not None:
        inside = np.concatenate([inside] * len(rows), axis=1)
    logits = np.concatenate(rows, axis=1)
    kept = np.ones(logits.shape[:2], bool) if inside is None else inside
    return logits[kept], np.nonzero(kept)[0]


def run(model: Path | ir.Model, feeds: Feeds) -> list[np.ndarray]:
    """Return the outputs for all samples, each [N, ...], run in batches of the graph's own size.

    The last batch of a graph of fixed size is filled up with its first sample, as inference does.
    """
    session = session_of(model)
    dim = session.get_inputs()[0].shape[0]
    fixed = dim if isinstance(dim, int) else None
    results = [session.run(None, batch) for batch in batches(feeds, fixed)]
    count = len(next(iter(feeds.values())))
    return [np.concatenate(outputs)[:count] for outputs in zip(*results)]


def session_of(model: Path | ir.Model) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session that says only what is wrong."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def batches(feeds: Feeds, fixed: int | None) -> Iterator[Feeds]:
    """Yield the samples in batches: of the fixed size, the last one filled up; or of BATCH and a rest."""
    count, size = len(next(iter(feeds.values()))), fixed or BATCH
    for start in range(0, count, size):
        stop = start + size if fixed else min(start + size, count)
        rows = np.arange(start, stop)
        rows[rows >= count] = start
        yield {name: array[rows] for name, array in feeds.items()}
