"""Random weights that still make gates mean something: a head whose answers spread over its classes."""
import numpy as np

from npukit.errors import JobFailed

LARGEST_SHARE = 0.70  # no class may take more of the answers
SPREAD = 2.0  # standard deviation of each class' logits over the samples


def spread(logits: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (weight, bias) of a linear head, centred and scaled on the logits it gave.

    logits  float [M, T] of the profile's own samples
    weight  float [T, H]; bias float [T]
    raises  JobFailed where one class still takes more than 70 % of the samples

    An untrained head gives every sample one class, and a gate on such answers passes whatever is broken.
    """
    mean, deviation = logits.mean(0), logits.std(0)
    scale = SPREAD / np.maximum(deviation, np.finfo(np.float32).tiny)
    best = ((logits - mean) * scale).argmax(1)
    share = np.bincount(best).max() / len(best)
    if share > LARGEST_SHARE:
        raise JobFailed(f"the random head gives one class {share:.0%} of {len(best)} answers; use another --seed or more samples")
    return (weight * scale[:, None]).astype(weight.dtype), ((bias - mean) * scale).astype(bias.dtype)
