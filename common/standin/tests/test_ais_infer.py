"""ais_infer.py, the tool of 2022, as a user calls it."""
import json
import re

import numpy as np
import pytest
from omfiles import write_samples, write_sum

STAMP = r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d"


@pytest.fixture
def tool(run, tmp_path):
    """The tool's own folder is the working directory, as its README has it."""
    run("ln -s $(command -v ais_infer.py) .")
    write_sum(tmp_path / "x.om", {"a": (2, 3)})
    return lambda flags, **environment: run(f"python3 ais_infer.py {flags}", **environment)


def test_layout_and_lines(tool, tmp_path):
    write_samples(tmp_path / "in", 3, (1, 3))
    done = tool("--model x.om --input in --output out --outfmt NPY")
    assert done.returncode == 0, done.stderr
    results, = (tmp_path / "out").iterdir()
    assert re.fullmatch(STAMP, results.name)
    assert {path.name for path in results.iterdir()} == {"data_0_0.npy", "data_1_0.npy", "data_2_0.npy", "sumary.json"}
    assert (np.load(results / "data_2_0.npy") == 2).all()
    summary = json.loads((results / "sumary.json").read_text())
    assert summary["NPU_compute_time"]["count"] == 2 and "stand-in" in summary["standin"]
    for name in ("H2D_latency", "NPU_compute_time", "D2H_latency"):
        assert re.search(rf"^\[INFO\] {name} \(ms\): min = ", done.stdout, re.M)
    found = re.search(
        r"^\[INFO\] throughput 1000\*batchsize\((\d+)\)/NPU_compute_time.mean\(([0-9.e-]+)\): ([0-9.e+-]+)$",
        done.stdout, re.M)
    batch, mean, throughput = map(float, found.groups())
    assert batch == 1 and throughput == pytest.approx(1000 / mean)


def test_failures(tool):
    assert tool("--model x.om --run_mode array").returncode == 2
    assert tool("--model x.om --device 255").returncode == 2
    refused = tool("--model x.om --profiler")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("RuntimeError: --profiler: not in the stand-in")
