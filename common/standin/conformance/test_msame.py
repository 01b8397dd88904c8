"""msame, where it was built."""
import re

import numpy as np
import pytest
from graphs import samples, summing

TOOL = "msame"
pytestmark = pytest.mark.device
LINES = ["acl init success", "open device 0 success", "create context success", "create stream success",
         "load model m.om success",
         "create model description success", "output data success", "unload model success, model Id is 1",
         "end to destroy stream",
         "end to destroy context", "end to reset device is 0", "end to finalize acl"]


@pytest.fixture
def two(case):
    """m.om adds a + 10 b, int64 [1, 3]."""
    summing(case.folder / "m.onnx", {"a": (1, 3), "b": (1, 3)})
    case.atc()
    samples(case.folder / "in/a", 11, (1, 3), name="{}.bin")
    samples(case.folder / "in/b", 11, (1, 3), name="{}.bin", start=1)
    return case


def results(case):
    """Return the one folder below out/."""
    folder, = (case.folder / "out").iterdir()
    return folder


def test_folders(two):
    text = two.do("msame.runs", "msame --model m.om --input in/a,in/b --output out --loop 5").stdout
    two.sees("msame.log_lines", [line for line in LINES if f"[INFO] {line}" not in text], [])
    two.sees("msame.last_line", text.strip().splitlines()[-1],
             re.compile(r"^\[INFO\] pid: \d+ Execute sample success$"))
    two.sees("msame.one_time_a_file", len(re.findall(r"^Inference time: [0-9.e-]+ms$", text, re.M)), 11)
    two.sees("msame.average_line", text, re.compile(r"^Inference average time : \d+\.\d\d ms$", re.M))
    two.sees("msame.average_without_first", text,
             re.compile(r"^Inference average time without first time: \d+\.\d\d ms$", re.M))
    two.sees("msame.output_names", sorted(path.name for path in results(two).iterdir()),
             sorted(f"{i}_output_0.bin" for i in range(11)))
    two.sees("msame.pairs_by_name",
             [float(np.fromfile(results(two) / f"{i}_output_0.bin", np.float32).max()) for i in range(11)],
             [i + 10.0 * (i + 1) for i in range(11)])
    two.sees("msame.folder_name", results(two).name, re.compile(r"^\d{12,20}$"))


@pytest.mark.parametrize("loop", [1, 3])
def test_files_and_loop(two, loop):
    text = two.do("msame.runs",
                  f"msame --model=m.om --input in/a/0.bin,in/b/0.bin --output out --outfmt TXT --loop {loop}").stdout
    two.sees("msame.loops", len(re.findall(r"^Inference time: ", text, re.M)), loop)
    two.sees("msame.average_line_of_files", text, re.compile(r"^Inference average time: \d+\.\d{6} ms$", re.M))
    two.sees("msame.average_only_when_looped", "without first time" in text, loop > 1)
    two.sees("msame.txt", (results(two) / "m_output_0.txt").read_text().split(), ["10.000000"] * 3)


def test_pure_inference(two):
    text = two.do("msame.runs", "msame --model m.om --output out --outfmt BIN --loop 100 --debug true").stdout
    two.sees("msame.loops", text.count("Inference time: "), 100)


@pytest.mark.parametrize("flags, words", [
    ("--bad 1", "unknown paramenter"), ("--loop 101", "loop must in 1 to 100"),
    ("--device 256", "device must in 0 to 255"),
    ("--model x.onnx", "input model file type is not .om")], ids=["flag", "loop", "device", "model"])
def test_bad_option(two, flags, words):
    done = two.run(f"msame --model m.om --output out {flags}")
    two.sees("msame.bad_options_exit_0", done.returncode, 0)
    two.sees("msame.bad_options", done.stdout, re.compile(rf"\[ERROR\] .*{re.escape(words)}"))


@pytest.mark.parametrize("flags", ["--input in/a/0.bin,nothing.bin", "--input in/a/0.bin", "--input nothing,in/a",
                                   "--dymBatch 2"],
                         ids=["file", "too_few", "folder", "gear"])
def test_failure(two, flags):
    done = two.run(f"msame --model m.om --output out {flags}")
    two.sees("msame.failures_exit_1", done.returncode, 1)


def test_batch_gear(case):
    summing(case.folder / "m.onnx", {"a": ("n", 3)})
    case.atc('--input_shape="a:-1,3" --dynamic_batch_size=1,2')
    samples(case.folder / "in", 2, (2, 3), name="{}.bin")
    case.do("msame.dymBatch", "msame --model m.om --input in --output out --dymBatch 2")
    case.sees("msame.gear_has_to_be_chosen", case.run("msame --model m.om --input in --output out").returncode, 1)


def test_command_of_the_original(case):
    shapes = {"input_ids": (1, 512), "token_type_ids": (1, 512), "attention_mask": (1, 512)}
    summing(case.folder / "m.onnx", shapes)
    case.atc()
    (case.folder / "m.om").rename(case.folder / "spanBert_bs1.om")
    for name in ("input_ids", "segment_ids", "input_mask"):
        samples(case.folder / name, 3, (1, 512), name="{}.bin")
    case.do("msame.originals", """ln -s $(command -v msame) .
./msame --model "./spanBert_bs1.om" \\
        --input "./input_ids,./segment_ids,./input_mask" \\
        --output "./result/outputs_bs1_om" \\
        --outfmt BIN > ./msame_bs1.txt
""")
    case.sees("msame.originals", len(list(case.folder.glob("result/outputs_bs1_om/*/*_output_0.bin"))), 3)
