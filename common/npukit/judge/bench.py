"""What every bench.py shares: a run's preprocess and infer timed again, as they were recorded, and the ratios judged."""
import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from npukit.errors import JobFailed
from npukit.files import read_json


def recorded(run: Path, stage: str, flag: str | None = None) -> str:
    """Return the command that a stage ran, or the value of one of its flags."""
    words = json.loads((run / stage / "record.json").read_text())["command"]
    return words if flag is None else shlex.split(words)[shlex.split(words).index(flag) + 1]


def again(run: Path, read: Callable[[Path], np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
    """Run a run's preprocess and infer again, in a folder of their own; return the seconds and read(infer's folder).

    run      out/.../bs<N>, as the recorded commands name it
    seconds  preprocess and infer by the clock, start and loading included; device, the executions alone
    """
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage, place in (("../inputs", "preprocess"), ("infer", "infer")):
            Path(folder, place).mkdir()
            words = recorded(run, stage).replace(str(run.parent / "inputs"), str(Path(folder, "preprocess")))
            began = time.perf_counter()
            call(shlex.split(words), Path(folder, place))
            seconds[place] = time.perf_counter() - began
        summary = read_json(Path(folder, "infer", "outputs_summary.json"))
        seconds["device"] = sum(summary["npu_compute_time_list"]) / 1000
        return seconds, read(Path(folder, "infer"))


def call(line: list, folder: Path) -> str:
    """Run a command in a folder and return what it prints; raise JobFailed, with its last word, where it fails."""
    done = subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise JobFailed(f"{shlex.join(map(str, line))[:200]}: exit {done.returncode}, {said[-1] if said else 'without a word'}")
    return done.stdout


def judge(seconds: dict[str, float], ours: str, at_least: dict[str, float], samples: int, unit: str = "sentences") -> None:
    """Print what each way reaches, then raise JobFailed where ours is not as many times as fast as it has to be.

    at_least  {another way: how many times}; the others are shown only
    """
    for name, taken in seconds.items():
        print(f"{name:14}{samples / taken:8.2f} {unit}/s{taken / seconds[ours]:8.2f} times as long as {ours}")
    slow = [f"{seconds[name] / seconds[ours]:.2f} times {name} (at least {times} are due)"
            for name, times in at_least.items() if seconds[name] / seconds[ours] < times]
    if slow:
        raise JobFailed(f"{ours} reach only {' and '.join(slow)}")


def require_same(name: str, answers: np.ndarray, reference: np.ndarray, close: float = 1e-3) -> None:
    """Raise JobFailed where answers are further from the reference than `close` of its largest number, at least 1."""
    difference = float(np.abs(answers - reference).max()) / max(1.0, float(np.abs(reference).max()))
    if not difference <= close:
        raise JobFailed(f"{name} answers otherwise: {difference:.1e} of the largest apart")
