"""Only one at a time, also when holders die, on one host and as if on several."""
import os
import signal
import subprocess
import sys
import threading
import time

import filelock
import pytest
from scripts import environment

from npuops import locks
from npuops.locks import hold, newest


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(locks, "PAUSE", 0.01)


def elsewhere(lock, number=1, suffix=".held", holder="{}"):
    """Plant the turn of a process of another host."""
    lock.mkdir(exist_ok=True)
    (lock / f"{number:08}{suffix}").write_text(holder)
    return lock


COUNT = """
import pathlib, sys, time
from npuops import locks
locks.PAUSE = 0.001
place, many = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for _ in range(many):
    with locks.hold(place / "lock"):
        (place / "inside").open("x").close()
        number = int((place / "count").read_text())
        (place / "count").write_text(str(number + 1))
        (place / "inside").unlink()
"""


def test_many_processes_one_at_a_time(tmp_path):
    (tmp_path / "count").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", COUNT, tmp_path, "40"], env=environment()) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (tmp_path / "count").read_text() == "160"
    assert len(list((tmp_path / "lock").iterdir())) <= 3, "turns that are over are cleared away"


def test_many_threads_one_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(10):
            with hold(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 60 and max(most) == 1


HANG = """
import pathlib, sys, time
from npuops.locks import hold
with hold(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_killed_holder_is_followed_at_once(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HANG, tmp_path / "lock"], env=environment(),
                              stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    waited = []

    def kill(owner):
        waited.append(owner)
        if len(waited) == 3:
            holder.send_signal(signal.SIGKILL)
            holder.wait()

    with hold(tmp_path / "lock", kill):
        assert waited[0] == f"process {holder.pid} on {os.uname().nodename}" and len(waited) == 3
    holder.stdout.close()


def test_a_holder_elsewhere_is_dead_when_its_file_stands_still(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    lock, began = elsewhere(tmp_path / "lock"), time.monotonic()
    with hold(lock):
        assert time.monotonic() - began > 0.2 and newest(lock)[0] == 2


def test_a_holder_elsewhere_that_touches_its_file_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    lock, began = elsewhere(tmp_path / "lock"), time.monotonic()

    def touch(owner):
        if time.monotonic() - began < 0.6:
            os.utime(lock / "00000001.held")

    with hold(lock, touch):
        assert time.monotonic() - began > 0.7


def test_a_holder_touches_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    with hold(tmp_path / "lock"):
        held = newest(tmp_path / "lock")[1]
        os.utime(held, (0, 0))
        end = time.monotonic() + 10
        while held.stat().st_mtime == 0:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_another_boot_or_space_of_processes_is_another_host(tmp_path):
    """In two containers the same process id is two processes: only time tells."""
    gone = {"host": "h", "pid": 2**22 + 1, "space": locks.space(), "began": "1"}
    assert locks.is_gone(gone)
    assert not locks.is_gone({**gone, "space": ["another boot", gone["space"][1]]})
    assert not locks.is_gone({**gone, "space": [gone["space"][0], "pid:[1]"]})
    assert not locks.is_gone(locks.myself()) and locks.is_gone({**locks.myself(),
                                                                "began": "1"}), "an id that was given again"


def test_one_who_looked_long_ago_does_not_get_in_beside_the_holder(tmp_path):
    lock = elsewhere(tmp_path / "lock", 3)
    elsewhere(lock, 2, ".free")
    assert locks.claim(lock, 1) is None, "its number has been given, and cleared away"
    assert newest(lock)[0] == 3 and not (lock / "00000001.held").exists()


def test_one_that_was_taken_for_dead_takes_nothing_away(tmp_path):
    lock = tmp_path / "lock"
    with hold(lock):
        (lock / "00000001.held").unlink()
        elsewhere(lock, 2)
    assert newest(lock)[1] is not None, "the turn of the other is still held"


def test_waiting_can_be_given_up(tmp_path):
    def enough(owner):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), hold(elsewhere(tmp_path / "lock"), enough):
        pass


def test_a_failing_block_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "lock"):
        raise ZeroDivisionError
    assert newest(tmp_path / "lock") == (1, None)


def test_why_these_are_not_filelock_s(tmp_path, monkeypatch):
    """Where names cannot be exchanged, as on NFS, filelock waits for ever for a holder that was killed. When this fails, take filelock."""
    place = f"import filelock, os; lock = filelock.SoftFileLease({str(tmp_path / 'soft')!r}); lock.acquire(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", place]).returncode == -signal.SIGKILL
    monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)
    with pytest.raises(filelock.Timeout):
        filelock.SoftFileLease(tmp_path / "soft", timeout=0.5).acquire()
    ours = HANG.replace("time.sleep(60)", "import os; os.kill(os.getpid(), 9)")
    assert subprocess.run([sys.executable, "-c", ours, tmp_path / "ours"], env=environment(),
                          stdout=subprocess.DEVNULL).returncode == -signal.SIGKILL
    with hold(tmp_path / "ours"):
        assert newest(tmp_path / "ours")[0] == 2
