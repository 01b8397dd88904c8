"""ais_infer.py, the tool of 2022, where it is still there."""
import json
import re

import pytest
from graphs import INT32, samples, summing

TOOL = "ais_infer.py"
pytestmark = pytest.mark.device


@pytest.fixture
def tool(case):
    """The tool's own folder is the working directory, as its README has it; m.om takes int64 [2, 3]."""
    summing(case.folder / "m.onnx", {"a": (2, 3)})
    case.atc()
    samples(case.folder / "in", 3, (1, 3))
    case.run("ln -s $(command -v ais_infer.py) .")
    return case


def test_layout_and_lines(tool):
    done = tool.do("ais_infer.runs", "python3 ais_infer.py --model m.om --input in --output out --outfmt NPY")
    results, = (tool.folder / "out").iterdir()
    tool.sees("ais_infer.dated_folder", results.name, re.compile(r"^\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d$"))
    tool.sees("ais_infer.files", sorted(path.name for path in results.iterdir()),
              ["data_0_0.npy", "data_1_0.npy", "data_2_0.npy", "sumary.json"])
    tool.sees("ais_infer.summary", json.loads((results / "sumary.json").read_text())["NPU_compute_time"]["count"], 2)
    tool.sees("ais_infer.copies_are_shown", re.findall(r"(\w+) \(ms\): min = ", done.stdout),
              ["H2D_latency", "NPU_compute_time", "D2H_latency"])
    tool.sees("ais_infer.throughput_line", done.stdout,
              re.compile(r"throughput 1000\*batchsize\(1\)/NPU_compute_time.mean\([0-9.e-]+\): [0-9.e+-]+$", re.M))


@pytest.mark.parametrize("flags", ["--om m.om -r 3", "--model m.om --loop=3 --batchsize 2 --debug",
                                   "--model m.om --run_mode loop",
                                   "--model m.om --outfmt TXT --output out"], ids=["om_r", "debug", "run_mode", "txt"])
def test_flags_of_its_time(tool, flags):
    tool.do("ais_infer.flags", f"python3 ais_infer.py {flags}")


@pytest.mark.parametrize("flags", ["--run_mode array", "--device 255"], ids=["mode", "device"])
def test_bad_value(tool, flags):
    tool.sees("ais_infer.bad_values_exit_2", tool.run(f"python3 ais_infer.py --model m.om {flags}").returncode, 2)


def test_commands_of_the_original(case):
    summing(case.folder / "m.onnx", {"input": (1, 8, 50)}, INT32)
    case.atc()
    (case.folder / "m.om").rename(case.folder / "elmo_sim.om")
    samples(case.folder / "bin_path", 3, (1, 8, 50), "int32", "{}.bin")
    case.do("ais_infer.originals", """ln -s $(command -v ais_infer.py) .
python3 ais_infer.py --model $PWD/elmo_sim.om --input $PWD/bin_path --output $PWD/om_out
python3 ais_infer.py --model $PWD/elmo_sim.om --loop=20""")
    case.sees("ais_infer.originals",
              [name for name in ("0_0.bin", "sumary.json") if not list(case.folder.glob(f"om_out/*/{name}"))], [])
