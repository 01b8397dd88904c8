"""How close two sets of outputs are: cosine, largest difference, flipped decisions, and the gates on them."""
import numpy as np

TOLERANCE = 1e-4  # of the largest logit (at least 1): what fp32 arithmetic in another order may move
HALF_TOLERANCE = 1e-2  # of the largest logit (at least 1): what half precision may move
METRIC_KEPT = 0.999  # of the fp32 reference's task metric: what half precision has to keep
DECISIONS_KEPT = 0.99  # of the fp32 reference's clear decisions, where random weights leave no task metric
COSINE_KEPT = 0.99  # of every vector with the fp32 reference's, where the answers are vectors: the bar of the original ELMo


def compare(ours: np.ndarray, reference: np.ndarray, sample: np.ndarray, against: str, classes: bool = True) -> dict:
    """Return the fidelity of `ours` to `reference`.

    ours, reference  float [M, T]: M decisions (tokens, sentences ...) among T classes each; without classes M vectors
    sample           int [M], ascending: the sample that each decision belongs to
    against          what the reference is, for the report
    returns          cosine_mean, cosine_min over samples, or over vectors, max_abs, tolerance (absolute),
                     argmax_agreement (fraction), flips (decisions that differ though the reference's two best are
                     further apart than the tolerance) and clear_agreement (the fraction of those decisions whose two best
                     are further apart than half precision may move; 0 where fewer than half are), all None for vectors,
                     not_finite (values), worst_sample (the one of max_abs)
    """
    if ours.shape != reference.shape:
        raise ValueError(f"outputs {list(ours.shape)} are compared with a reference {list(reference.shape)}")
    finite = np.isfinite(ours)
    difference = np.where(finite, np.abs(ours - reference), np.inf)
    tolerance = TOLERANCE * max(1.0, float(np.abs(reference).max()))
    cosine = cosines(np.where(finite, ours, 0), reference, sample if classes else np.arange(len(sample)))
    worst = int(difference.max(1).argmax())
    agreement, flips, clear = decided(ours, reference, tolerance) if classes else (None, None, None)
    return {"against": against, "cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min()),
            "max_abs": float(difference.max()) if finite.all() else None, "tolerance": tolerance,
            "argmax_agreement": agreement, "flips": flips, "clear_agreement": clear,
            "not_finite": int((~finite).sum()), "worst_sample": int(sample[worst])}


def decided(ours: np.ndarray, reference: np.ndarray, tolerance: float) -> tuple[float, int, float]:
    """Return (the fraction of decisions that agree, how many differ that the reference did not leave open, clear_agreement)."""
    best_two = np.partition(reference, -2, axis=1)[:, -2:]
    margin = best_two[:, 1] - best_two[:, 0]
    differs = ours.argmax(1) != reference.argmax(1)
    clear = margin > tolerance * (HALF_TOLERANCE / TOLERANCE)
    kept = 1 - differs[clear].mean() if 2 * clear.sum() >= len(clear) else 0
    return float(1 - differs.mean()), int((differs & (margin > tolerance)).sum()), float(kept)


def cosines(ours: np.ndarray, reference: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Return the cosine of each sample's outputs, all its decisions read as one vector, in float64."""
    starts = np.flatnonzero(np.diff(sample, prepend=sample[0] - 1))
    ours, reference = ours.astype(np.float64), reference.astype(np.float64)
    dot, ours, reference = (np.add.reduceat(np.einsum("mt,mt->m", a, b), starts)
                            for a, b in ((ours, reference), (ours, ours), (reference, reference)))
    return dot / np.maximum(np.sqrt(ours * reference), np.finfo(np.float64).tiny)


def gates(fidelity: dict, precision: str, metric: str = "", value: float = 0, reference: float = 0) -> list[dict]:
    """Return the gates of one stage: each a name, a limit, the value and whether it passes.

    fp32 has to reproduce the reference's numbers. Half precision has to keep its task metric; where there is none
    (metric is "": random weights), its decisions, but for those that its rounding may decide either way. Vectors have to
    keep their direction, every one of them.
    """
    finite = gate("values that are not finite", 0, fidelity["not_finite"], fidelity["not_finite"] == 0)
    if fidelity["flips"] is None:
        cosine = fidelity["cosine_min"]
        kept = gate("smallest cosine with PyTorch fp32", COSINE_KEPT, cosine, cosine >= COSINE_KEPT)
    else:
        kept = gate("flipped decisions", 0, fidelity["flips"], fidelity["flips"] == 0)
    if precision == "fp32":
        largest, limit = fidelity["max_abs"], fidelity["tolerance"]
        return [finite,
                gate("largest difference from PyTorch", limit, largest, largest is not None and largest <= limit), kept]
    if fidelity["flips"] is None:
        return [finite, kept]
    if metric:
        limit = METRIC_KEPT * reference
        return [finite, gate(f"{metric} kept from PyTorch fp32", limit, value, value >= limit)]
    agreement = fidelity["clear_agreement"]
    return [finite,
            gate("clear decisions kept from PyTorch fp32", DECISIONS_KEPT, agreement, agreement >= DECISIONS_KEPT)]


def gate(name: str, limit: float, value: float | None, passes: bool) -> dict:
    """Return one gate as report.json holds it."""
    return {"name": name, "limit": limit, "value": value, "passes": bool(passes)}
