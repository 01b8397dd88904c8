"""What is computed from the inference tool's times."""
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.errors import JobFailed, UserError
from npukit.files import read_json, write_json
from npukit.judge.performance import merge, msame_summary, percentile, performance, pure_inference, window_rates

TIMES = st.lists(st.floats(0.01, 1000), min_size=1, max_size=200)


@given(TIMES, st.integers(1, 100))
def test_percentile_is_a_value_that_enough_do_not_exceed(times, q):
    found = percentile(sorted(times), q)
    assert found in times
    assert sum(t <= found for t in times) * 100 >= q * len(times)
    smaller = [t for t in times if t < found]
    assert not smaller or sum(t <= max(smaller) for t in times) * 100 < q * len(times), "the smallest such value"


@given(TIMES, st.integers(1, 64))
def test_windows_lose_no_sample_and_no_time(times, batch_size):
    rates = window_rates(times, batch_size)
    if len(times) < 3:
        assert rates == []
        return
    edges = [math.floor(len(times) * i / 3) for i in range(4)]
    seconds = [sum(times[a:b]) / 1000 for a, b in itertools.pairwise(edges)]
    assert sum(rate * s for rate, s in zip(rates, seconds)) == pytest.approx(batch_size * len(times))
    assert max(b - a for a, b in itertools.pairwise(edges)) - min(b - a for a, b in itertools.pairwise(edges)) <= 1


@given(TIMES, st.integers(1, 64), st.floats(0.1, 100))
def test_performance(times, batch_size, seconds):
    found = performance({"npu_compute_time_list": times}, {"seconds": seconds}, 10, batch_size, None)
    assert found["device_per_s"] * sum(times) / 1000 == pytest.approx(10)  # samples, not rows of filled batches
    assert found["end_to_end_per_s"] * seconds == pytest.approx(10)
    latency = found["latency_ms"]
    assert min(times) <= latency["p50"] <= latency["p90"] <= latency["p99"] <= max(times)
    assert latency["mean"] == pytest.approx(sum(times) / len(times))


@pytest.mark.parametrize("times, stable", [
    ([1, 1, 1], True), ([1, 1, 1.1], True), ([1, 1, 1.2], False), ([2, 1, 2, 1, 1, 2], True), ([1, 1], False)])
def test_stable_means_three_windows_within_a_tenth(times, stable):
    assert performance({"npu_compute_time_list": times}, {"seconds": 1}, 1, 1, None)["stable"] is stable


OLD = "[INFO] throughput 1000*batchsize.mean(8)/NPU_compute_time.mean(2.5): 3200.0"
NEW = "[INFO] throughput 1000*batchsize(8)/NPU_compute_time.mean(2.5): 3200.5"


@pytest.mark.parametrize("log, value", [
    (OLD, 3200.0), (NEW, 3200.5), (f"[INFO] loop 100\n{NEW}\n[INFO] unload model success, model Id is 1\n", 3200.5),
    (f"{OLD}\n{NEW}", 3200.5), ("2023 [INFO] throughput 1000*batchsize(1)/NPU_compute_time.mean(16.6): 60", 60.0)])
def test_pure_inference_reads_both_spellings(tmp_path, log, value):
    (tmp_path / "log.txt").write_text(log)
    found = pure_inference(tmp_path / "log.txt", 100)
    assert (found["samples_per_s"], found["loop"]) == (value, 100)
    assert found["tool_line"] in log and "throughput" in found["tool_line"]


@pytest.mark.parametrize("log, reason", [
    (None, r"log\.txt is not there; run the perf stage first"), ("", "has no line with the tool's throughput"),
    ("a\nb\nc\nacl open device 0 failed", r"its end says: b \| c \| acl open device 0 failed"),
    ("[INFO] throughput 1000*batchsize(8)/NPU_compute_time.mean(2.5): nan", "has no line")])
def test_a_log_without_the_line_is_named(tmp_path, log, reason):
    if log is not None:
        (tmp_path / "log.txt").write_text(log)
    with pytest.raises(UserError, match=reason):
        pure_inference(tmp_path / "log.txt", 100)


def part(folder, name, times, **more):
    (folder / name).mkdir(parents=True)
    (folder / name / f"batch_{name}_0.npy").write_text(name)
    told = {str(i): {"infiles": [f"{name}/{i}.npy"], "outfiles": ["moved"]} for i in range(len(times))}
    write_json(folder / f"{name}_summary.json",
               {"npu_compute_time_list": times, "throughput": 3, "filesinfo": told, **more})


def test_runs_of_several_models_become_one(tmp_path):
    for name, times in (("12", [5.0, 6.0]), ("8", [1.0])):
        part(tmp_path / "parts", name, times, standin="yes")
    merge(tmp_path / "parts", tmp_path / "outputs")
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"batch_8_0.npy", "batch_12_0.npy"}
    told = {str(i): {"infiles": [name]} for i, name in enumerate(["8/0.npy", "12/0.npy", "12/1.npy"])}
    assert read_json(tmp_path / "outputs_summary.json") == {"standin": "yes", "npu_compute_time_list": [1.0, 5.0, 6.0],
                                                            "filesinfo": told}


def test_a_chips_runs_are_no_stand_ins(tmp_path):
    part(tmp_path / "parts", "8", [1.0])
    merge(tmp_path / "parts", tmp_path / "outputs")
    assert "standin" not in read_json(tmp_path / "outputs_summary.json")


def test_no_runs_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no <length>_summary"):
        merge(tmp_path, tmp_path / "outputs")


RUN = ("[INFO] acl init success\nInference time: {}ms\nInference time: {}ms\nInference average time : 9.00 ms\n"
       "[INFO] pid: 1 Execute sample success\n")


def test_msames_times_are_read_whatever_the_number_of_its_runs(tmp_path):
    log = tmp_path / "msame.txt"
    log.write_text(RUN.format(2.5, "1e+02") + RUN.format(4, 0.25))
    assert msame_summary(log) == {"npu_compute_time_list": [2.5, 100, 4, 0.25]}
    log.write_text("npukit stand-in 0.1.0 (CPU, not an NPU)\n" + RUN.format(1, 2))
    assert msame_summary(log) == {"npu_compute_time_list": [1, 2], "standin": True}


@pytest.mark.parametrize("log", [
    "", "[ERROR] unknown paramenter\n", RUN.format(1, 2).replace("Execute sample success", "Sample process failed"),
    RUN.format(1, 2) + "[INFO] acl init success\nInference time: 3ms\n"])
def test_an_msame_that_did_not_end_well_is_no_result(tmp_path, log):
    (tmp_path / "msame.txt").write_text(log)
    with pytest.raises(JobFailed, match=r"msame did not end well; .*msame\.txt ends in"):
        msame_summary(tmp_path / "msame.txt")
