"""Runs timed side by side: the inference of each once more, in turns, with its own batches; rates, ratios, and whether they agree."""
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npukit.columns import columns
from npukit.corpus import batches, store
from npukit.errors import JobFailed, UserError
from npukit.files import read_json
from npukit.judge.report import Run, chip

CLOSE = 1e-3  # of the largest number of the answers, at least 1: further apart they are other answers
SAME = "equal"
HEADING = ("model", "chip", "batch", "lengths", "samples", "samples/s", "times the first", "answers")


@dataclass(frozen=True)
class Timed:
    """One run, timed again.

    seconds  of the device, for all samples: models loaded, batches made before
    lengths  int [samples], of the samples
    answers  each output of the graph, float [samples, ...]; 0 behind a sample's own length where it has an answer a token
    """

    run: Run
    seconds: float
    lengths: np.ndarray
    answers: list[np.ndarray]

    def rate(self) -> float:
        return len(self.lengths) / self.seconds


def runs_below(place: Path) -> list[Run]:
    """Return the run of a folder bs<N>, or every run below another folder, by batch size; UserError where there is none."""
    place = place.absolute()  # as the recorded commands name it
    found = [Run(path.parents[1])
             for path in [place / "infer" / "record.json", *place.glob("*/*/*/*/infer/record.json")] if path.exists()]
    if not found:
        raise UserError(f"{place} holds no run with an infer stage; make infer makes one")
    return sorted(found, key=lambda run: run.identity["batch_size"])


def compare(groups: list[list[Run]], rounds: int, at_least: float = 0, equal: bool = False,
            colour: bool = False) -> str:
    """Time all runs again in turns and return the table, a line a run; the first run is what the others are compared with.

    rounds    how often; a run's fastest round counts
    at_least  how many times as fast as the first the best run of the last group has to be
    equal     whether all answers have to be those of the first
    raises    JobFailed, with the table, where either is missed
    """
    runs = [run for group in groups for run in group]
    timed = [min(turns, key=lambda each: each.seconds)
             for turns in zip(*([infer_again(run) for run in runs] for _ in range(rounds)))]
    first = timed[0]
    rows, apart = [HEADING], []
    for each in timed:
        verdict = agreement(each, first)
        rows.append((*named(each), f"{each.rate():.2f}", f"{each.rate() / first.rate():.2f}", verdict))
        apart += [verdict] if verdict != SAME else []
    best = max(each.rate() / first.rate() for each in timed[-len(groups[-1]):])
    missed = [f"the answers are not those of the first run: {apart[0]}"] if equal and apart else []
    missed += [f"{best:.2f} times the first run is reached, {at_least:g} are due"] if best < at_least else []
    if missed:
        raise JobFailed(f"{'; '.join(missed)}\n{columns(rows)}")
    return columns(rows, colour)


def named(timed: Timed) -> tuple[str, ...]:
    """Return how a run is told from others: model, chip, batch size, lengths, samples."""
    run = timed.run.identity
    lengths = store.read_seq_lens(timed.run.inputs)
    shown = str(lengths[0]) if len(lengths) == 1 else f"{len(lengths)}, {lengths[0]} to {lengths[-1]}"
    return run["model"], chip(run), str(run["batch_size"]), shown, str(len(timed.lengths))


def infer_again(run: Run) -> Timed:
    """Run the infer stage of a run again, as it was recorded, in a folder of its own."""
    lengths = store.read(run.inputs)[1].lengths
    with tempfile.TemporaryDirectory() as folder:
        call(shlex.split(read_json(run.folder / "infer" / "record.json")["command"]), Path(folder))
        summary = read_json(Path(folder, "outputs_summary.json"))
        return Timed(run, sum(summary["npu_compute_time_list"]) / 1000, lengths, read_answers(Path(folder), lengths))


def call(line: list, folder: Path) -> str:
    """Run a command in a folder and return what it prints; raise JobFailed, with its last word, where it fails."""
    done = subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise JobFailed(f"{shlex.join(map(str, line))[:200]}: exit {done.returncode}, {said[-1] if said else 'without a word'}")
    return done.stdout


def read_answers(infer: Path, lengths: np.ndarray) -> list[np.ndarray]:
    """Return each output of the graph, [samples, ...], as the infer stage left them in its folder, see Timed."""
    answers = []
    while any((infer / "outputs").glob(f"*_{len(answers)}.npy")):
        answers.append(batches.read_outputs(infer / "outputs", len(lengths), len(answers)))
        if answers[-1].ndim > 1:  # the axis of the tokens; that of a sample's classes is shorter than any sample
            answers[-1][np.arange(answers[-1].shape[1]) >= lengths[:, None]] = 0
    return answers


def agreement(timed: Timed, first: Timed) -> str:
    """Return equal, or in what the answers differ."""
    if not np.array_equal(timed.lengths, first.lengths) or len(timed.answers) != len(first.answers):
        return "to other samples"
    far = max(distance(*pair) for pair in zip(timed.answers, first.answers))
    return SAME if far <= CLOSE else f"{far:.1e} apart"


def distance(answers: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference, as a share of the reference's largest number, at least 1; inf for what is not finite.

    Where the rows of one are filled up to a greater length, only what both hold counts: it is filling.
    """
    if answers.ndim > 1:
        width = min(answers.shape[1], reference.shape[1])
        answers, reference = answers[:, :width], reference[:, :width]
    difference = float(np.abs(answers - reference).max()) / max(1.0, float(np.abs(reference).max()))
    return difference if np.isfinite(difference) else float("inf")


def require_same(name: str, answers: np.ndarray, reference: np.ndarray) -> None:
    """Raise JobFailed where somebody else's answers are not the reference's."""
    if not (far := distance(answers, reference)) <= CLOSE:
        raise JobFailed(f"{name} answers otherwise: {far:.1e} of the largest apart")


def require_ratio(name: str, theirs: float, ours: float, at_least: float, unit: str = "samples") -> None:
    """Print both rates and their ratio; raise JobFailed where ours is not so many times theirs."""
    print(f"{name} {theirs:.2f} {unit}/s, here {ours:.2f}: {ours / theirs:.2f} times")
    if not ours / theirs >= at_least:
        raise JobFailed(f"only {ours / theirs:.2f} times {name}; {at_least:g} are due")
