"""What runs inside a job: its device, what make's words mean, interruption, records."""
import os
import signal
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import made
from processes import started_with

from npukit.errors import UserError
from npuops.cluster import job, records

# --- The device ----------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 63), min_size=1), st.sampled_from(["{}", "Ascend310P-{}"]))
def test_a_list_is_read_as_it_is_written(numbers, form):
    assert job.listed(",".join(form.format(n) for n in numbers)) == list(map(str, numbers))


@pytest.mark.parametrize("words, numbers", [
    ("", []), ("0-2", ["0", "1", "2"]), ("npu:1(IDX:3)", ["3"]), ("npu:2(IDX:1,4-5)", ["1", "4", "5"]), ("npu:1", []),
    ("void", []),
    ("none", []), ("NoDevFiles", []), ("npu:ascend310p:1", [])])
def test_lists_as_sites_write_them(words, numbers):
    assert job.listed(words) == numbers


@given(st.dictionaries(st.sampled_from(job.DEVICES), st.integers(0, 63).map(str), min_size=1))
def test_the_first_that_names_a_device_counts(environment):
    first = next(name for name in job.DEVICES if name in environment)
    expected = "0" if first == "ASCEND_RT_VISIBLE_DEVICES" else environment[first]
    assert job.device(environment, ask=lambda: "npu:1(IDX:9)") == expected
    assert job.device(environment, restarts=True) == "0"


def test_without_a_word_from_the_environment_the_scheduler_is_asked():
    assert job.device({"SLURM_JOB_GRES": "npu:1"}, ask=lambda: "npu:1(IDX:5)") == "5"
    with pytest.raises(UserError, match="was given no device that it can see"):
        job.device({})


# --- What make says ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("printed, code, reason", [
    (["preprocess.py: line 3 is short", "make[1]: *** [x.mk:1: out/inputs] Error 2",
      "make: *** [Makefile:7: job-toy] Error 2"], 2,
     "preprocess.py: line 3 is short"),
    (["npukit: the device or its driver failed (507033)", "make[2]: *** [x] Error 75", "make: *** [y] Error 2"], 75,
     "npukit: the device or its driver failed (507033)"),
    (["npukit: atc exited with 255", "make[2]: *** [x] Error 1", "make: *** [y] Error 2"], 1,
     "npukit: atc exited with 255"),
    (["make[2]: *** [x] Killed", "make: *** [y] Error 2"], 75, ""), (["make[2]: *** [x] Error 137"], 75, ""),
    (["make[2]: *** [x] Error 127"], 1, ""), (["make: *** [x] Terminated"], 75, ""),
    (["Makefile:46: *** there is no model nosuch; there are: toy toy2.  Stop."], 2,
     "there is no model nosuch; there are: toy toy2"),
    (["make[1]: *** No rule to make target 'x'.  Stop.", "make: *** [z] Error 2"], 2, "No rule to make target 'x'")])
def test_the_first_failure_is_the_job_s(printed, code, reason):
    assert job.meaning(["make: Entering directory '/x'", "  0.1 s  out/inputs", *printed]) == (code, reason
                                                                                               or "0.1 s  out/inputs")


def test_no_failure_is_none():
    assert job.meaning(["make: Entering directory", "  0.1 s  out/inputs", "*** stars"]) is None


@pytest.mark.parametrize("recipe, code",
                         [("exit 2", 2), ("exit 75", 75), ("exit 1", 1), ("exit 255", 1), ("kill -9 $$$$", 75),
                                          ("true", 0)])
def test_a_real_make_is_understood(recipe, code, tmp_path):
    (tmp_path / "Makefile").write_text(f"all:\n\t@$(MAKE) inner\ninner:\n\t@echo said; {recipe}\n")
    assert job.watch(["make", "-C", str(tmp_path)]) == (code, "said" if code else "")


def test_sigterm_ends_what_make_started(tmp_path):
    (tmp_path / "Makefile").write_text("all:\n\ttouch begun; sleep 60 & sleep 60\n")

    def end():
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread, began = threading.Thread(target=end), time.monotonic()
    thread.start()
    try:
        assert job.watch(["make", "-C", str(tmp_path)]) == (75, "ended by SIGTERM, the stages that were done are kept")
    finally:
        signal.signal(signal.SIGTERM, before)
    thread.join()
    assert time.monotonic() - began < 10
    assert not started_with(str(tmp_path))


# --- A task and its record ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Return a function that runs a task whose work is a bash line, and returns its code and record."""
    plan = made("slurm", tmp_path)
    (tmp_path / "tasks").mkdir()
    tasks = {t.name: t for t in plan.tasks()}

    def run(name, line="true"):
        monkeypatch.setattr(job, "commands", lambda *_: [["bash", "-c", line]])
        return job.run(plan, tasks[name], "77_8", "1", tmp_path / "plan.json"), records.read(plan, name)

    run.plan = plan
    return run


def test_a_task_leaves_its_word(task):
    code, record = task("bilstm_crf-prepare")
    attempt = record["attempts"][0]
    assert (code, record["state"], record["code"]) == (0, "done", 0)
    assert attempt["started"] <= attempt["ended"] and (attempt["job"], attempt["device"]) == ("77_8", "1")


def test_what_comes_after_a_failure_is_not_run(task, tmp_path):
    line = "echo 'preprocess.py: line 3 is short'; echo 'make: *** [x] Error 2'; exit 2"
    assert task("bilstm_crf-prepare", line)[1]["reason"] == "preprocess.py: line 3 is short"
    code, record = task("bilstm_crf-compile-bs1", f"touch {tmp_path}/ran")
    assert (code, record["state"]) == (1,
                                       "failed") and record["reason"] == "bilstm_crf-prepare: preprocess.py: line 3 is short"
    assert not (tmp_path / "ran").exists()


def test_what_comes_before_must_have_ended(task):
    code, record = task("bilstm_crf-compile-bs1")
    assert (code, record["state"], record["reason"]) == (75, "interrupted", "bilstm_crf-prepare has not ended yet")


def test_the_infrastructure_is_given_up_in_the_end(task):
    codes = [task("bilstm_crf-prepare", "echo gone; echo 'make: *** [x] Error 75'; exit 2")[0] for _ in range(4)]
    assert codes == [75, 75, 75, 1]
    assert records.read(task.plan, "bilstm_crf-prepare")["reason"] == "gone; given up after 4 attempts"


def test_attempts_that_were_killed_count(task):
    plan = task.plan
    prepare = next(t for t in plan.tasks() if t.name == "bilstm_crf-prepare")
    for _ in range(4):
        records.begin(plan, prepare, "1", None)
    code, record = task("bilstm_crf-prepare")
    assert code == 1 and record["reason"] == "it ended without a word; given up after 4 attempts"
    assert [a["state"] for a in record["attempts"]] == ["interrupted"] * 4 + ["failed"]


# --- What is run ----------------------------------------------------------------------------------------------------------------------


def lines(plan, name, device=None):
    task = next(t for t in plan.tasks() if t.name == name)
    return job.commands(plan, task, device, "/etc/npukit/plan.json")


def test_the_front_door_is_given_the_device_and_its_report_the_same(tmp_path):
    plan = made("slurm", tmp_path)
    [line] = lines(plan, "bilstm_crf-infer-bs32", "3")
    assert line[:3] == ["make", "-C", "/npukit"] and line[-2:] == ["infer", "perf"]
    assert {"MODEL=bilstm_crf", "BS=32", "DEVICE=3", "JOB=1", "ENGINE=none", "SOC=Ascend310P3", "LOOP=50"} <= set(line)
    infer = next(t for t in plan.tasks() if t.name == "bilstm_crf-infer-bs32")
    (tmp_path / "tasks").mkdir()
    records.end(plan, records.begin(plan, infer, "1", "3"), "done", 0)
    assert "DEVICE=3" in lines(plan,
                               "bilstm_crf-report-bs32")[0], "a stage is up to date with the device that it was run on"


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_engine_is_the_front_door_s(engine):
    line = lines(made("slurm", engine=engine), "bilstm_crf-prepare")[0]
    assert {f"ENGINE={engine}", "IMAGE=registry.example.org/npukit-cann:9.0.1"} <= set(line)


def test_apptainer_takes_all_of_it():
    [line] = lines(made("slurm", engine="apptainer"), "bilstm_crf-prepare")
    assert line[:2] == ["apptainer", "exec"] and "--bind=/npukit" in line and "ENGINE=none" in line
    assert line[line.index("make") - 1] == "registry.example.org/npukit-cann:9.0.1"


def test_object_storage_comes_before_and_after():
    from npuops.cluster.site import KubernetesSite

    plan = made("argo", kubernetes=KubernetesSite(mirror="s3://c/d", publish="s3://r/n"))
    fetch, prepare = lines(plan, "bilstm_crf-prepare")
    assert fetch[-1] == "fetch" and "MIRROR=s3://c/d" in fetch and prepare[-1] == "pth2onnx"
    table, publish = lines(plan, "table")
    assert table[:5] == [sys.executable, "-m", "npuops", "cluster",
                         "collect"] and "DEST=s3://r/n" in publish and publish[-1] == "publish"
    assert len(lines(plan, "bilstm_crf-compile-bs1")) == 1
