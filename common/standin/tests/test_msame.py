"""msame as a user calls it."""
import re

import numpy as np
import pytest
from omfiles import write_samples, write_sum

START = ["acl init success", "open device 0 success", "create context success", "create stream success",
         "get run mode success", "load model x.om success", "create model description success"]
END = ["unload model success, model Id is 1", "end to destroy stream", "end to destroy context",
       "end to reset device is 0", "end to finalize acl"]


@pytest.fixture
def model(tmp_path):
    return write_sum(tmp_path / "x.om", {"a": (1, 3), "b": (1, 3)})


def result_directory(done, tmp_path):
    """The dated directory that msame prints: digits alone."""
    line, = [line for line in done.stdout.splitlines() if re.fullmatch(r"out/\d{12,20}", line)]
    return tmp_path / line


def test_directories(run, model, tmp_path):
    write_samples(tmp_path / "in/a", 11, (1, 3), name="{}.bin")
    write_samples(tmp_path / "in/b", 11, (1, 3), name="{}.bin", start=1)
    done = run("msame --model x.om --input in/a,in/b --output out --loop 5")
    assert done.returncode == 0 and "stand-in" in done.stderr and "stand-in" not in done.stdout
    assert re.findall(r"^\[INFO\] (.*)$", done.stdout, re.M)[:7] == START
    assert re.findall(r"^\[INFO\] (.*)$", done.stdout, re.M)[-6:-1] == END
    assert re.search(r"^\[INFO\] pid: \d+ Execute sample success$", done.stdout, re.M)
    assert len(re.findall(r"^Inference time: [0-9.e-]+ms$", done.stdout, re.M)) == 11
    assert re.search(r"^Inference average time : \d+\.\d\d ms$", done.stdout, re.M)
    assert re.search(r"^Inference average time without first time: \d+\.\d\d ms$", done.stdout, re.M)
    results = result_directory(done, tmp_path)
    assert sorted(path.name for path in results.iterdir()) == sorted(f"{i}_output_0.bin" for i in range(11))
    for i in range(11):
        assert (np.fromfile(results / f"{i}_output_0.bin", np.float32) == i + 10 * (i + 1)).all()


@pytest.mark.parametrize("loop", [1, 3])
def test_files_and_loop(run, model, tmp_path, loop):
    write_samples(tmp_path / "in", 2, (1, 3), name="{}.bin")
    done = run(f"msame --model=x.om --input in/0.bin,in/1.bin --output out --outfmt TXT --loop {loop}")
    assert done.returncode == 0
    assert len(re.findall(r"^Inference time: ", done.stdout, re.M)) == loop
    assert re.search(r"^Inference average time: \d+\.\d{6} ms$", done.stdout, re.M)
    assert ("without first time" in done.stdout) == (loop > 1)
    assert (result_directory(done, tmp_path) / "x_output_0.txt").read_text() == "10.000000 10.000000 10.000000\n"


def test_pure_inference(run, model, tmp_path):
    done = run("msame --model x.om --output out --outfmt BIN --loop 100 --debug true")
    assert done.returncode == 0 and done.stdout.count("Inference time: ") == 100
    assert (result_directory(done, tmp_path) / "x_output_0.bin").stat().st_size == 12


@pytest.mark.parametrize(("flags", "line"), [
    ("--bad 1", "unknown paramenter"), ("--loop 101", "loop must in 1 to 100"), ("--loop x", "unknown paramenter"),
    ("--device 256", "device must in 0 to 255"), ("--model x.onnx", "input model file type is not .om"),
])
def test_bad_options_exit_0(run, model, flags, line):
    done = run(f"msame --model x.om --output out {flags}")
    assert done.returncode == 0 and f"[ERROR] {line}" in done.stdout and "--outputSize" in done.stdout


@pytest.mark.parametrize(("flags", "line"), [
    ("--input in/0.bin,nothing.bin", "open file nothing.bin failed"),
    ("--input in/0.bin", "has 2 inputs, 1 were given"),
    ("--input nothing,in", "no directory"), ("--profiler true", "profiler"), ("--dymBatch 2", "dynamic_batch"),
    ("--dymBatch 2 --dymDims a:1,3;b:1,3", "cannot be set at the same time"), ("--dymShape a:1", "needs --input"),
])
def test_failures_exit_1(run, model, tmp_path, flags, line):
    write_samples(tmp_path / "in", 1, (1, 3), name="{}.bin")
    done = run(f"msame --model x.om --output out {flags.replace(';', chr(92) + ';')}")
    assert done.returncode == 1 and line in done.stderr.splitlines()[-1]
    assert "[ERROR] Sample process failed" in done.stdout and "Traceback" not in done.stderr


def test_dynamic_batch(run, tmp_path):
    write_sum(tmp_path / "x.om", {"a": (-1, 3)}, mode="dynamic_batch", gears=((1,), (2,)))
    write_samples(tmp_path / "in", 2, (2, 3), name="{}.bin")
    assert run("msame --model x.om --input in --output out --dymBatch 2").returncode == 0
    assert run("msame --model x.om --input in --output out").returncode == 1


def test_a_copy_works_where_the_package_is_importable(run, model):
    done = run("cp $(command -v msame) here; ./here --model x.om --output out")
    assert done.returncode == 0


def test_help(run):
    assert run("msame --help").returncode == 0
