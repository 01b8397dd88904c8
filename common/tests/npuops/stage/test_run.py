"""One stage: its folder appears if its command succeeds, and not otherwise."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import started_with
from scripts import environment

from npuops.stage.run import watch


@pytest.fixture
def stage(tmp_path):
    """Return a function that runs a bash line as the stage tmp_path/out/s, and returns the CompletedProcess."""

    def run(line, *flags, **more):
        command = [sys.executable, "-m", "npuops", "stage", "--into", "out/s", *flags, "--", "bash", "-c", line]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment(**more))

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_line_is_one_write(tmp_path):
    """Containers are unbuffered and several print at once: lines in pieces would meet in the middle. Such a pipe keeps the pieces apart."""
    read, write = os.pipe2(os.O_DIRECT)
    command = [sys.executable, "-m", "npuops", "stage", "--into", "out/s", "--", "true"]
    assert subprocess.run(command, cwd=tmp_path, stdout=write, env=environment(PYTHONUNBUFFERED="1")).returncode == 0
    os.close(write)
    assert re.fullmatch(rb" +\d+\.\d s  out/s\n", os.read(read, 4096)) and not os.read(read, 4096)
    os.close(read)


def test_what_is_edited_while_a_stage_runs_makes_it_stale(stage, tmp_path):
    given = tmp_path / "given"
    given.touch()
    assert stage(f"cat {given}; sleep 0.1; echo edited >{given}; echo made >file", "--target", "file").returncode == 0
    assert given.stat().st_mtime > (tmp_path / "out/s/file").stat().st_mtime


def test_a_stage_that_succeeds(stage, tmp_path):
    done = stage("echo hello; echo what >&2; echo made >file", "--versions", "1c 2d")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "s"
    assert names(tmp_path / "out") == ["s"]
    assert names(folder) == ["command", "file", "log.txt", "reads.mk", "record.json"]
    assert sorted((folder / "log.txt").read_text().split()) == ["hello", "what"]
    record = json.loads((folder / "record.json").read_text())
    assert record["seconds"] > 0 and record["command"].startswith("bash -c 'echo hello")
    assert record["started"].endswith("+00:00")
    assert 0 < record["memory_gib"] < 0.1, "bash is small"
    assert (folder / "command").read_text().endswith("echo made >file | 1c 2d")
    assert "hello" not in done.stdout and done.stdout.strip().endswith("out/s")


@pytest.mark.parametrize("told, run", [
    ("model=elmo soc=cpu standin=1 profile=tiny batch_size=", ("elmo", "cpu", True, "tiny", None)),
    ("model=elmo soc=Ascend310P3 standin= profile=released batch_size=8",
     ("elmo", "Ascend310P3", False, "released", 8))])
def test_the_record_names_the_run(stage, tmp_path, told, run):
    assert stage("true", "--run", told).returncode == 0
    record = json.loads((tmp_path / "out" / "s" / "record.json").read_text())
    assert record["run"] == dict(zip(("model", "soc", "standin", "profile", "batch_size"), run))


def test_the_memory_of_what_a_command_starts_counts(stage, tmp_path):
    assert stage("python3 -c 'b\"x\" * 2**28'; true").returncode == 0
    assert 0.25 < json.loads((tmp_path / "out" / "s" / "record.json").read_text())["memory_gib"] < 0.5


def test_show_prints_what_the_command_prints(stage):
    assert stage("echo hello", "--show").stdout == "hello\n"


def test_a_stage_replaces_its_folder_whole(stage, tmp_path):
    stage("touch old")
    stage("touch new")
    assert "old" not in names(tmp_path / "out" / "s") and "new" in names(tmp_path / "out" / "s")


@pytest.mark.parametrize("line, code, said", [
    ("echo no such flag >&2; exit 2", 2, "no such flag"), ("exit 75", 75, ""), ("exit 1", 1, "s exited with 1"),
    ("exit 255", 1, "s exited with 255"), ("kill -9 $$", 1, "s was ended by SIGKILL"),
    ("echo '[ERROR] acl open device 0 failed'; exit 255", 75,
     "the device or its driver failed (acl open device 0 failed)"),
    ("echo 'dcmi module initialize failed. ret is -8005'; exit 1", 75, "try again elsewhere"),
    ("echo 'runtime result = 107001'; exit 1", 75, "try again elsewhere"),
    ("echo 1507033 samples; exit 1", 1, "s exited with 1")])
def test_a_stage_that_fails(stage, tmp_path, line, code, said):
    stage("touch old")
    done = stage(f"touch half; {line}")
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
    assert "old" in names(tmp_path / "out" / "s"), "what was there stays"
    assert names(tmp_path / "out") == ["s", "s.failed"] and "half" in names(tmp_path / "out" / "s.failed")
    assert stage("true").returncode == 0
    assert names(tmp_path / "out") == ["s"], "a success clears the failure away"


def test_only_the_end_of_a_long_log_is_shown(stage, tmp_path):
    done = stage("seq 1000; exit 1")
    assert "\n1000\n" in done.stderr and "\n900\n" not in done.stderr
    assert len((tmp_path / "out" / "s.failed" / "log.txt").read_text().split()) == 1000


def test_a_command_that_is_not_there(tmp_path):
    done = subprocess.run([sys.executable, "-m", "npuops", "stage", "--into", "out/s", "--", "no-such-tool"],
                          cwd=tmp_path,
                          capture_output=True, text=True, env=environment())
    assert done.returncode == 1 and "no-such-tool cannot be started: No such file or directory" in done.stderr


def started(tmp_path, line):
    """Start a stage and wait until its command has made the file `half`."""
    process = subprocess.Popen([sys.executable, "-m", "npuops", "stage", "--into", "out/s", "--", "bash", "-c", line],
                               cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env=environment())
    while not list(tmp_path.glob("out/.s.*.new/half")):
        time.sleep(0.02)
    return process


def test_a_killed_stage_leaves_nothing_that_counts(stage, tmp_path):
    process = started(tmp_path, "touch half; sleep 60")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "s").exists()
    assert stage("touch whole").returncode == 0
    assert os.listdir(tmp_path / "out") == ["s"], "the next run takes the remains away"


def test_a_stage_hands_sigterm_to_its_command(tmp_path):
    process = started(tmp_path, "trap 'touch caught; kill $!; exit 2' TERM; sleep 60 & touch half; wait")
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 2
    assert (tmp_path / "out" / "s.failed" / "caught").exists()


def test_a_command_that_was_told_to_end_has_not_done_its_work(tmp_path):
    process = started(tmp_path, "trap '' TERM; touch half; sleep 1")
    process.terminate()
    assert "s was ended by SIGTERM" in process.communicate(timeout=10)[1]
    assert process.returncode == 1 and not (tmp_path / "out" / "s").exists()


def test_a_busy_device_stops_the_stage_before_it_begins(stage, tmp_path):
    smi = tmp_path / "npu-smi"
    smi.write_text("#!/bin/bash\n[ $2 = -m ] && printf 'NPU ID Chip ID Chip Logic ID Chip Name\\n4 0 0 Ascend 310P3\\n' ||"
                   " echo 'Process id : 12'\n")
    smi.chmod(0o755)
    done = stage("touch begun", "--idle", "0", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 75 and "device 0 is busy with process 12" in done.stderr
    assert not (tmp_path / "out").exists()


def test_sigterm_reaches_what_the_command_has_started(tmp_path):
    """Also of a pipeline both ends: nothing of an interrupted stage goes on working."""
    process = started(tmp_path, "(sleep 61.5 | sleep 62.5) & bash -c 'touch half; sleep 63.5; true'")
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 1
    assert not started_with("sleep 61.5") + started_with("sleep 62.5") + started_with("sleep 63.5")


@pytest.mark.parametrize("line", ["echo 'OSError: [Errno 28] No space left on device' >&2; exit 1",
                                  "echo Disk quota exceeded; exit 255"])
def test_a_full_disk_is_named(stage, line):
    done = stage(line)
    assert done.returncode == 2 and "out/s is full (No space left on device); free some space and run make again" in done.stderr


def test_a_full_disk_under_the_log_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "log.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        watch(["bash", "-c", f"echo $$ >{tmp_path}/pid; yes"], tmp_path / "folder", show=False)
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_the_key_holds_no_places(stage, tmp_path):
    places = f"/opt/venv/=venv/ {tmp_path}/="
    assert stage(f"echo '{tmp_path}/data/x' \"/opt/venv/bin\"", "--versions", "v", "--places", places).returncode == 0
    assert (tmp_path / "out/s/command").read_text() == "bash -c echo data/x venv/bin | v"


def test_a_stage_on_a_chip_wants_a_node(stage, tmp_path):
    if list(Path("/dev").glob("davinci[0-9]*")):
        pytest.skip("this machine has a chip")
    done = stage("touch begun", "--chip")
    assert done.returncode == 75 and "there is no /dev/davinci device here" in done.stderr and not (tmp_path / "out").exists()


# --- Jobs on several hosts -----------------------------------------------------------------------------------------------------------


def start_shared(tmp_path, line):
    return subprocess.Popen([sys.executable, "-m", "npuops", "stage", "--into", "out/s", "--shared", "--", "bash", "-c",
                             line],
                            cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True)


def test_a_shared_stage_is_made_once(tmp_path):
    """Five at the same time: one makes it, the others wait and find it made."""
    running = [start_shared(tmp_path, f"echo x >>{tmp_path}/ran; sleep 0.5") for _ in range(5)]
    printed = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 5
    assert (tmp_path / "ran").read_text() == "x\n" and sum("made by another job meanwhile" in text
                                                           for text in printed) == 4
    assert names(tmp_path / "out") == [".locks", "s"]


def test_a_shared_stage_goes_on_after_a_killed_one(stage, tmp_path):
    process = start_shared(tmp_path, "touch half; sleep 60")
    while not list(tmp_path.glob("out/.s.*.new/half")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert stage("touch whole", "--shared").returncode == 0
    assert names(tmp_path / "out") == [".locks", "s"] and "whole" in names(tmp_path / "out" / "s")


def test_another_stage_of_that_name_is_not_taken_for_this_one(stage):
    stage("touch a", "--shared")
    done = stage("touch b", "--shared", "--versions", "2")
    assert "meanwhile" not in done.stdout and done.returncode == 0


@pytest.mark.parametrize("theirs, code", [("same", 0), ("other", 1)])
def test_the_first_writer_wins_and_the_second_verifies(stage, tmp_path, theirs, code):
    """Who was taken for dead and was not finds, at its end, the stage made by another."""
    other = f"mkdir ../s; cd ../s; echo {theirs} >file; echo {{}} >record.json; echo then >log.txt; echo 1 >outputs_summary.json; cd -"
    done = stage(f"{other}; echo same >file; echo 2 >outputs_summary.json")
    assert done.returncode == code
    assert ("was made twice at the same time, and file differ" in done.stderr) == bool(code)
    assert (tmp_path / "out" / "s" / "file").read_text() == f"{theirs}\n", "the first is kept"
    assert names(tmp_path / "out") == ["s"]


def prerequisites(folder) -> list[str]:
    first, *_ = (folder / "reads.mk").read_text().replace(" \\\n ", "\n").split("\n", 1)[1].split(":\n")
    return first.splitlines()[:-1]  # the last begins the next rule


def test_what_a_stage_reads_is_noted_whoever_reads_it(tmp_path):
    """A script that another script calls, a file and a folder that Python reads, one that it looks for; not what is written."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "inner.sh").write_text("echo inner\n")
    (given / "a b").write_text("1")
    python = ("import os, sys; from npukit.files import looked_at; here = sys.argv[1]; open(here + '/a b'); os.listdir(here);"
              "looked_at(here + '/none'); open(here + '/made', 'w').write('1'); open('/etc/hostname')")
    command = [sys.executable, "-m", "npuops", "stage", "--into", "out/s", "--target", "file", "--", "bash", "-c",
               'bash "$1/inner.sh"; python3 -c "$0" "$1"; touch file', python, str(given)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert prerequisites(tmp_path / "out/s") == [
        f"$(wildcard {given}/none)", str(given), f"{given}/a\\ b", f"{given}/inner.sh"]


def test_a_bash_env_of_ones_own_is_still_read(stage, tmp_path):
    (tmp_path / "mine").write_text("export MINE=yes\n")
    assert stage("echo $MINE >file", BASH_ENV=str(tmp_path / "mine")).returncode == 0
    assert (tmp_path / "out/s/file").read_text() == "yes\n"
