#!/usr/bin/env python3
"""Time the ONNX graph on made-up input with ONNX Runtime: one sentence a time.

README, "Inference", step 4.4.

Source  ModelZoo-PyTorch 539c2bc, ACL_PyTorch/contrib/nlp/ELMo/elmo_onnx_infer.py
"""
import time
from pathlib import Path

import numpy as np

import vectors
from npukit import command
from npukit.errors import UserError


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--loop", type=count, default=20)
    args = parser.parse_args()
    session = vectors.session_of(args.model)
    feed = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in feed.shape]
    ids = np.zeros(shape, dtype=np.int32)
    session.run(None, {feed.name: ids})
    began = time.perf_counter()
    for _ in command.progress(range(args.loop), "onnx_infer"):
        session.run(None, {feed.name: ids})
    seconds = (time.perf_counter() - began) / args.loop
    print(f"mean:{1000 * seconds}ms, throughput:{shape[0] / seconds}")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--loop is {text}, expected 1 or more")
    return int(text)


if __name__ == "__main__":
    command.run(main)
