"""python3 -m ais_bench as a user calls it: files in, files out, and the lines that scripts parse."""
import json
import re
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from ais_bench.infer import batches
from ais_bench.infer.batches import ahead, natural_key
from ais_bench.infer.results import statistics
from hypothesis import given, settings
from hypothesis import strategies as st
from omfiles import write_samples, write_sum

from standin.runtime import Model

NUMBER = r"[0-9.e+-]+"
TIMES = rf"min = {NUMBER}, max = {NUMBER}, mean = {NUMBER}, median = {NUMBER}, percentile\(99%\) = {NUMBER}"
# What scripts of both generations read.
THROUGHPUT = re.compile(
    rf"^\[INFO\] throughput 1000\*batchsize(?:\.mean)?\(({NUMBER})\)/NPU_compute_time\.mean\(({NUMBER})\): ({NUMBER})$",
    re.M)
ORDER = [
    r"\[INFO\] acl init success", r"\[INFO\] open device 0 success", r"\[INFO\] create new context",
    r"\[INFO\] load model x\.om success", r"\[INFO\] create model description success",
    r"\[INFO\] try get model batchsize:4", r"\[INFO\] output path:out/d",
    r"\[INFO\] get filesperbatch files0 size:24 tensor0size:96 filesperbatch:4 runcount:3",
    r"\[INFO\] warm up 1 done", r"\[INFO\] -----------------Performance Summary------------------",
    rf"\[INFO\] NPU_compute_time \(ms\): {TIMES}", THROUGHPUT.pattern.strip("^$"),
    r"\[INFO\] ------------------------------------------------------",
    r"\[INFO\] unload model success, model Id is 1", r"\[INFO\] end to destroy context",
    r"\[INFO\] end to reset device is 0", r"\[INFO\] end to finalize acl",
]


@pytest.fixture
def bench(run):
    return lambda flags, **environment: run(f"python3 -m ais_bench {flags}", **environment)


@pytest.fixture
def model(tmp_path):
    """a + 10 b, int64 [4, 3], and eleven samples of each; a's i-th is i, b's is 100 + i."""
    write_samples(tmp_path / "a", 11, (1, 3))
    write_samples(tmp_path / "b", 11, (1, 3), start=100)
    return write_sum(tmp_path / "x.om", {"a": (4, 3), "b": (4, 3)})


def last_line(done) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_files_in_files_out(bench, model, tmp_path):
    done = bench("--model x.om --input a,b --output out --output_dirname d --outfmt NPY")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out/d").iterdir()} == {f"data_{i}_0.npy" for i in range(11)}
    for i in range(11):  # natural order: data_2 with data_2, not with data_10
        answer = np.load(tmp_path / f"out/d/data_{i}_0.npy")
        assert answer.shape == (1, 3) and answer.dtype == np.float32 and (answer == i + 10 * (100 + i)).all()
    lines = done.stdout.splitlines()
    assert len(lines) == len(ORDER)
    for line, pattern in zip(lines, ORDER):
        assert re.fullmatch(pattern, line)
    assert "stand-in" in done.stderr.splitlines()[0] and "Inference array Processing: 100%" in done.stderr


def test_summary_beside_the_directory(bench, model, tmp_path):
    done = bench("--model x.om --input a,b --output out --output_dirname d --loop 2")
    summary = json.loads((tmp_path / "out/d_summary.json").read_text())
    assert set(summary) == {"filesinfo", "NPU_compute_time", "H2D_latency", "D2H_latency", "throughput",
                            "npu_compute_time_list", "pid", "args", "standin"}
    assert summary["filesinfo"]["10"] == {"infiles": ["a/data_10.npy", "b/data_10.npy"],
                                          "outfiles": ["out/d/data_10_0.bin"]}
    assert len(summary["filesinfo"]) == 11
    times = summary["npu_compute_time_list"]
    assert summary["NPU_compute_time"] == statistics(times) and len(times) == 6  # two executions of three batches
    assert set(summary["H2D_latency"]) == {"min", "max", "mean", "median", "percentile(99%)", "count"}
    batch, mean, throughput = map(float, THROUGHPUT.search(done.stdout).groups())
    assert batch == 4 and throughput == summary["throughput"] == pytest.approx(1000 * 4 / mean)
    assert "CPU, not an NPU" in summary["standin"] and summary["args"][1:3] == ["--model", "x.om"]
    assert stat.S_IMODE((tmp_path / "out/d").stat().st_mode) == 0o750


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 11, 16])
def test_answers_do_not_depend_on_the_batch_size(bench, model, tmp_path, batch):
    write_sum(tmp_path / "x.om", {"a": (batch, 3), "b": (batch, 3)})
    done = bench("--model x.om --input a,b --output out --output_dirname d --outfmt NPY")
    assert f"filesperbatch:{batch} runcount:{-(-11 // batch)}" in done.stdout
    assert [np.load(tmp_path / f"out/d/data_{i}_0.npy").max() for i in range(11)] == [
        i + 10 * (100 + i) for i in range(11)]


def test_dynamic_batch(bench, model, tmp_path):
    write_sum(tmp_path / "x.om", {"a": (-1, 3), "b": (-1, 3)}, mode="dynamic_batch", gears=((2, 2), (8, 8)))
    unset = bench("--model x.om --input a,b")
    assert unset.returncode == 1
    assert "dynamic batch om model detected, but dymbatch, dymdims or dymshape not set!" in last_line(unset)
    done = bench("--model x.om --input a,b --dymBatch 8 --output out --output_dirname d")
    assert done.returncode == 0 and "batchsize:8" in done.stdout and "filesperbatch:8 runcount:2" in done.stdout
    assert bench("--model x.om --dymBatch 4").returncode == 1


def test_dynamic_dims(bench, tmp_path):
    write_sum(tmp_path / "x.om", {"a": (2, -1), "b": (2, -1)}, mode="dynamic_dims", gears=((3, 3), (5, 5)))
    for name in "ab":
        write_samples(tmp_path / name, 3, (1, 3))
    unset = bench("--model x.om")
    assert unset.returncode == 1 and "check failed dym gearcount:2 but dymtype:0 not set" in unset.stdout
    assert "--dymDims" in last_line(unset)
    done = bench("--model x.om --input a,b --dymDims 'a:2,3;b:2,3' --output out --output_dirname d")
    assert done.returncode == 0 and "batchsize.mean(2)" in done.stdout
    assert bench("--model x.om --dymDims 'a:2,4;b:2,4'").returncode == 1
    assert bench("--model x.om --dymDims 'a:2,x'").returncode == 2


@pytest.mark.parametrize(("mode", "compiled", "gears", "more"), [
    ("dymdims", "dynamic_dims", ((1, 3, 1, 3), (2, 5, 2, 5)), ""),
    ("dymshape", "dynamic_shape", (), "--outputSize 1000"),
])
def test_auto_shapes(bench, tmp_path, mode, compiled, gears, more):
    write_sum(tmp_path / "x.om", {"a": (-1, -1), "b": (-1, -1)}, mode=compiled, gears=gears)
    for name in "ab":
        write_samples(tmp_path / name, 1, (1, 3), name="short.npy")
        write_samples(tmp_path / name, 1, (2, 5), name="wide.npy")
    done = bench(f"--model x.om --input a,b --auto_set_{mode}_mode 1 {more} "
                 "--output out --output_dirname d --outfmt NPY")
    assert done.returncode == 0, done.stderr
    assert "batchsize.mean(1.5)" in done.stdout and "filesperbatch:1 runcount:2" in done.stdout
    assert np.load(tmp_path / "out/d/short_0.npy").shape == (1, 3)
    assert np.load(tmp_path / "out/d/wide_0.npy").shape == (2, 5)


def test_several_devices(bench, model, tmp_path):
    done = bench("--model x.om --input a,b --output out --output_dirname d --device 0,2 --outfmt NPY")
    assert done.returncode == 0, done.stderr
    shares = [float(x) for x in re.findall(
        r"^i:\d device_[02] throughput:(\S+) start_time:\S+ end_time:\S+$", done.stdout, re.M)]
    assert "[INFO] multidevice run end qsize:4 result:0" in done.stdout
    assert float(re.search(r"^\[INFO\] summary throughput:(\S+)$", done.stdout, re.M)[1]) == pytest.approx(sum(shares))
    for index, device in enumerate((0, 2)):
        assert len(list((tmp_path / f"out/d/device{device}_{index}").iterdir())) == 11
        assert (tmp_path / f"out/d/device{device}_{index}_summary.json").is_file()


def test_divided_input_and_a_missing_device(bench, model, tmp_path):
    done = bench("--model x.om --input a,b --output out --output_dirname d --device 0,1 --divide_input true")
    names = [{path.name for path in (tmp_path / f"out/d/device{i}_{i}").iterdir()} for i in (0, 1)]
    assert done.returncode == 0 and list(map(len, names)) == [6, 5]
    assert names[0] | names[1] == {f"data_{i}_0.bin" for i in range(11)}
    failed = bench("--model x.om --device 0,9")
    assert failed.returncode == 1 and "qsize:2 result:1" in failed.stdout


@pytest.mark.parametrize(("flags", "sentence"), [
    ("--output_dirname d", "give --output too"), ("--profiler true", "--profiler: not in the stand-in"),
    ("--dump 1 --output o", "--dump: not in the stand-in"), ("--run_mode files", "give --input"),
    ("--input a", "input dir num:1 not equal to model inputs num:2"), ("--input a,none", "no such file or directory"),
    ("--input a,empty", "holds 0 .npy and .bin files"), ("--input a,few", "a holds 11 files, few holds 2"),
    ("--input wide,b", "wide/data_0.npy holds 56 bytes, a takes 96"), ("--input a,wide", "input b takes 96 bytes"),
    ("--input a,mixed", "of the same batch"), ("--input a,broken", "not a readable .npy file"),
    ("--device 4", "SetDevice failed.ret=107001"), ("--dymBatch 2", "needs a dynamic_batch model"),
    ("--input a,b --output o --output_batchsize_axis 1", "another --output_batchsize_axis"),
])
def test_failures_exit_1_with_one_sentence(bench, model, tmp_path, flags, sentence):
    (tmp_path / "empty").mkdir()
    write_samples(tmp_path / "few", 2, (1, 3))
    write_samples(tmp_path / "wide", 11, (1, 7))
    write_samples(tmp_path / "mixed", 10, (1, 3))
    write_samples(tmp_path / "mixed", 1, (1, 2), name="data_10.npy")
    write_samples(tmp_path / "broken", 11, (1, 3))
    (tmp_path / "broken/data_3.npy").write_bytes(b"\x93NUMPY")
    done = bench(f"--model x.om {flags}")
    assert done.returncode == 1 and sentence in last_line(done)
    assert last_line(done).startswith("RuntimeError: ")


def test_fault_of_a_device(bench, model):
    done = bench("--model x.om", NPUKIT_STANDIN_FAULT="507033")
    assert done.returncode == 1 and "[ERROR] acl open device 0 failed" in done.stdout
    assert "runtime result = 507033" in done.stdout and "SetDevice failed.ret=507033" in last_line(done)


def test_model_of_another_chip_and_no_model(bench, model, tmp_path):
    done = bench("--model x.om", NPUKIT_STANDIN_SOC="Ascend310P3")
    assert done.returncode == 1 and "[ERROR] load model from file failed, model file is x.om" in done.stdout
    assert ("EE1001: ModelCheckCompatibility failed, supported socVersion=Ascend310P3, "
            "but the model socVersion=cpu") in done.stdout
    (tmp_path / "real.om").write_bytes(b"IMOD")
    done = bench("--model real.om")
    assert done.returncode == 1 and "load model from file failed, model file is real.om" in done.stdout
    assert "real NPU" in last_line(done)


@given(st.lists(st.integers(0, 10**12), unique=True))
def test_natural_order_is_the_numbers_order(numbers):
    names = [f"data_{n}.npy" for n in numbers]
    assert sorted(names, key=natural_key) == [f"data_{n}.npy" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_natural_order_takes_any_name(names):
    assert sorted(sorted(names, key=natural_key), key=natural_key) == sorted(names, key=natural_key)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 3))
def test_batches_hold_every_sample_once_and_pad_with_the_first(samples, batch, width):
    with TemporaryDirectory() as place:
        here = Path(place)
        for name in "ab":
            write_samples(here / name, samples, (1, width))
        model = Model(write_sum(here / "x.om", {"a": (batch, width), "b": (batch, width)}))
        planned = batches.plan([str(here / "a"), str(here / "b")], model, one_per_run=False)
        answers, expected = [], []
        for each in planned:
            first = each.first_sample
            answers += model.infer(batches.read(each))[0][:, 0].tolist()
            real = [11 * i for i in range(first, min(first + batch, samples))]
            expected += real + [11 * first] * (batch - len(real))
        assert answers == expected and len(answers) == -(-samples // batch) * batch


@given(st.lists(st.integers()))
def test_reading_ahead_keeps_the_order(items):
    assert list(ahead(str, items)) == [str(item) for item in items]


def test_reading_ahead_holds_few(tmp_path):
    begun = []
    values = ahead(begun.append, range(100))
    for _ in range(3):
        next(values)
    assert len(begun) <= 6
