#!/usr/bin/env python3
"""How much of ais_bench's time is the engine's, on a model of BERT's size: python bench_ais_bench.py [samples [batch]].

Makes an encoder of LAYERS layers, hidden 768, 128 tokens, and the samples, runs `python -m ais_bench` on them, and
prints the engine's time as a share of the inference phase (after the warm-up, before the summary) and of the process.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

STANDIN = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(STANDIN))
from standin import om  # noqa: E402

LAYERS, L, H, V = 4, 128, 768, 1000


def encoder(batch: int) -> om.OfflineModel:
    """input_ids, attention_mask int64 [N, L] -> hidden states float32 [N, L, H]."""
    generator = np.random.default_rng(0)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        values = generator.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def node(kind: str, *inputs: str, **attributes) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    mask = node("Cast", "attention_mask", to=TensorProto.FLOAT)
    x = node("Mul", node("Gather", weight("words", V, H), "input_ids"),
             node("Unsqueeze", mask, "last"))
    weights.append(numpy_helper.from_array(np.array([-1]), "last"))
    for layer in range(LAYERS):
        for part in "qkvo":
            x = node("Add", x, node("MatMul", x, weight(f"{part}{layer}", H, H)))
        wide = node("Erf", node("MatMul", x, weight(f"up{layer}", H, 4 * H)))
        x = node("Tanh", node("Add", x, node("MatMul", wide, weight(f"down{layer}", 4 * H, H))))
    names = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        nodes, "encoder", [helper.make_tensor_value_info(name, TensorProto.INT64, [batch, L]) for name in names],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, L, H])], weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return om.OfflineModel(
        tuple(om.Tensor(name, "int64", (batch, L)) for name in names),
        (om.Tensor(f"Tanh:0:{x}", "float32", (batch, L, H)),),
        "static", (), "cpu", "fp32", "bench", "bench", model.SerializeToString(),
    )


def main(samples: int = 300, batch: int = 8) -> None:
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        om.write(here / "encoder.om", encoder(batch))
        generator = np.random.default_rng(1)
        for name, top in (("input_ids", V), ("attention_mask", 2)):
            (here / name).mkdir()
            for index in range(samples):
                np.save(here / name / f"data_{index:08d}.npy", generator.integers(0, top, (1, L)))
        environment = {**os.environ, "PYTHONPATH": str(STANDIN)}
        moments = {"start": time.perf_counter()}
        command = [sys.executable, "-m", "ais_bench", "--model", "encoder.om", "--input", "input_ids,attention_mask",
                   "--output", "out", "--output_dirname", "d", "--outfmt", "NPY"]
        with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                print(line, end="")
                for mark in ("warm up", "Performance Summary"):
                    if mark in line:
                        moments[mark] = time.perf_counter()
        moments["end"] = time.perf_counter()
        engine_s = sum(json.loads((here / "out/d_summary.json").read_text())["npu_compute_time_list"]) / 1000
        phase_s = moments["Performance Summary"] - moments["warm up"]
        process_s = moments["end"] - moments["start"]
        written = len(list((here / "out/d").iterdir()))
        print(f"{samples} samples, batches of {batch}, {written} files written; engine {engine_s:.2f} s")
        print(f"engine / inference phase {engine_s / phase_s:.3f} ({phase_s:.2f} s)")
        print(f"engine / whole process   {engine_s / process_s:.3f} ({process_s:.2f} s)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
