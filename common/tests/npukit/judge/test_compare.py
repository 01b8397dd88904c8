"""Runs beside each other: recorded inference run again in turns, rates and ratios judged, answers compared."""
import json
import shlex
import sys

import numpy as np
import pytest

from npukit.corpus import store
from npukit.errors import JobFailed, UserError
from npukit.files import write_json
from npukit.judge import compare

LENGTHS = np.array([3, 1, 2])
ANSWERS = np.random.default_rng(5).normal(size=(3, 3, 4)).astype(np.float32)
INFER = "import json, numpy, os, sys\nos.makedirs('outputs')\nfor i, answer in enumerate(numpy.load(sys.argv[1])):\n" \
        "    numpy.save(f'outputs/data_{i:08d}_0.npy', answer[None])\njson.dump({'npu_compute_time_list': json.loads(sys.argv[2])}, " \
        "open('outputs_summary.json', 'w'))\n"


@pytest.fixture
def planted(tmp_path):
    """Return a function that makes a run whose recorded inference takes these milliseconds and answers this."""

    def plant(name, milliseconds, answers=ANSWERS, lengths=LENGTHS, bs=8):
        out = tmp_path / name / "cpu" / "tiny" / "toy"
        store.write(out / "inputs", {"ids": store.Input("ids")}, {"ids": [[1] * length for length in lengths]}, [3], {})
        np.save(out / "answers.npy", answers)
        run = {"model": "toy", "soc": "cpu", "standin": True, "profile": "tiny", "batch_size": bs}
        command = shlex.join([sys.executable, "-c", INFER, str(out / "answers.npy"), json.dumps(milliseconds)])
        write_json(out / f"bs{bs}" / "infer" / "record.json", {"command": command, "run": run})
        return tmp_path / name

    return plant


def lines(table):
    return [line.split() for line in table.splitlines()[2:]]


def test_runs_are_timed_in_turns_and_shown_beside_the_first(planted, monkeypatch):
    slow, fast = compare.runs_below(planted("slow", [1000.0, 500.0])), compare.runs_below(planted("fast", [300.0]))
    seen, again = [], compare.infer_again
    monkeypatch.setattr(compare, "infer_again", lambda run: seen.append(run) or again(run))
    table = compare.compare([slow, fast], rounds=2, equal=True, at_least=5)
    assert seen == [*slow, *fast, *slow, *fast]
    assert lines(table) == [["toy", "cpu", "8", "3", "3", "2.00", "1.00", "equal"],
                            ["toy", "cpu", "8", "3", "3", "10.00", "5.00", "equal"]]


def test_the_fastest_round_of_a_run_and_the_best_run_of_a_folder_count(planted, monkeypatch):
    planted("b", [100.0], bs=16)
    runs = [compare.runs_below(planted("a", [1000.0])), compare.runs_below(planted("b", [500.0], bs=2))]
    assert [run.identity["batch_size"] for run in runs[1]] == [2, 16], "by number, not by name"
    turns = iter([9.0, 5.0, 1.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(compare, "infer_again", lambda run: compare.Timed(run, next(turns), LENGTHS, [ANSWERS]))
    assert [line[6] for line in lines(compare.compare(runs, rounds=2, at_least=6))] == ["1.00", "1.20", "6.00"]


@pytest.mark.parametrize("at_least, said",
                         [(5.01, r"^5\.00 times the first run is reached, 5\.01 are due\n"), (9, "9 are due")])
def test_a_ratio_that_is_missed_fails(planted, at_least, said):
    runs = [compare.runs_below(planted("slow", [1500.0])), compare.runs_below(planted("fast", [300.0]))]
    with pytest.raises(JobFailed, match=said) as caught:
        compare.compare(runs, 1, at_least)
    assert "times the first" in str(caught.value), "the table comes all the same"


BEHIND = np.where(np.arange(3)[None, :, None] >= LENGTHS[:, None, None], np.float32(7), ANSWERS)


@pytest.mark.parametrize("answers, lengths, said", [
    (ANSWERS + np.float32(9e-4), LENGTHS, None), (BEHIND, LENGTHS, None),
    (np.pad(ANSWERS, ((0, 0), (0, 2), (0, 0))), LENGTHS, None),
    (ANSWERS + np.float32(1e-1), LENGTHS, r"[\d.]+e-02 apart"), (ANSWERS[::-1], LENGTHS, r"\S+ apart"),
    (ANSWERS * np.float32(np.nan), LENGTHS, "inf apart"),
    (ANSWERS[:2], LENGTHS[:2], "to other samples"), (ANSWERS, LENGTHS[::-1], "to other samples")])
def test_other_answers_are_seen_and_fail_where_they_have_to_be_equal(planted, answers, lengths, said):
    runs = [compare.runs_below(planted("a", [1.0])), compare.runs_below(planted("b", [1.0], answers, lengths))]
    shown = lines(compare.compare(runs, 1))[1][7:]
    if said is None:
        assert shown == ["equal"] and compare.compare(runs, 1, equal=True)
        return
    with pytest.raises(JobFailed, match=f"^the answers are not those of the first run: {said}\n"):
        compare.compare(runs, 1, equal=True)
    assert shown != ["equal"]


def test_a_folder_without_runs_and_a_stage_that_fails_are_answered(planted, tmp_path):
    with pytest.raises(UserError, match="holds no run with an infer stage"):
        compare.runs_below(tmp_path)
    [run] = compare.runs_below(planted("a", [1.0]))
    assert [each.folder for each in compare.runs_below(run.folder)] == [run.folder], "a run's own folder"
    record = {"command": "sh -c 'echo first; echo the board is cold >&2; exit 3'", "run": run.identity}
    write_json(run.folder / "infer" / "record.json", record)
    with pytest.raises(JobFailed, match=r"^sh -c .*: exit 3, the board is cold$"):
        compare.infer_again(run)
    with pytest.raises(JobFailed, match="exit 1, without a word"):
        compare.call(["false"], tmp_path)


def test_somebody_elses_program_is_held_to_the_same(capsys):
    reference = np.array([[10.0, -3.0]])
    compare.require_same("pipeline", reference + 0.009, reference)
    for answers in (reference + 0.011, reference * np.nan):
        with pytest.raises(JobFailed, match=r"pipeline answers otherwise: .* of the largest apart"):
            compare.require_same("pipeline", answers, reference)
    compare.require_ratio("pipeline", 10, 18, 1.8)
    assert capsys.readouterr().out == "pipeline 10.00 samples/s, here 18.00: 1.80 times\n"
    for rate in (17.9, float("nan")):
        with pytest.raises(JobFailed, match=r"only .* times pipeline; 1\.8 are due"):
            compare.require_ratio("pipeline", 10, rate, 1.8)
