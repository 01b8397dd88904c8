"""Conformance as a gate: planted differences are found and sorted, what a chip has shown is replayed, and the list of facts is whole.

`make conformance` runs all cases on the stand-in; here are those that the plants show in.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from personality import PLANTED, plant

STANDIN = Path(__file__).resolve().parents[1]
ROOT = STANDIN.parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-c", "common/pyproject.toml", "--rootdir", "."]
SHOWING = ("test_log_lines or (test_intervals and pipeline) or shorter_gear or prints_and_leaves or display_model_info or E10009 or "
           "E10016 or (test_operator_without_a_parser and Loop) or opset_10 or test_table or (test_rounded and (Add or Mul))")
QUICK = "test_list or test_refusal or test_question"


def conformance(tools: Path, results: Path, cases: str, *more: str) -> tuple[subprocess.CompletedProcess, list[dict]]:
    """Run cases against the stand-in of a folder; return the process and the observations."""
    path = os.pathsep.join([str(tools / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run([*PYTEST, "common/standin/conformance", "--results", str(results), "-k", cases, *more],
                          cwd=ROOT, text=True,
                          capture_output=True, check=False, env={**os.environ, "PATH": path, "PYTHONPATH": str(tools)})
    assert done.returncode in (0, 1), done.stdout
    return done, [json.loads(line) for line in results.read_text().splitlines()]


@pytest.mark.long
def test_every_planted_difference_is_found_and_sorted_and_nothing_else(tmp_path):
    shutil.copytree(STANDIN, tmp_path / "other", ignore=shutil.ignore_patterns("tests", "conformance", "__pycache__"))
    plant(tmp_path / "other")
    done, seen = conformance(tmp_path / "other", tmp_path / "seen.jsonl", SHOWING)
    found = {(line["fact"], line["class"]) for line in seen if not line["same"]}
    assert found == {(fact, planted.kind) for planted in PLANTED.values() for fact in planted.facts}
    assert done.returncode == 1 and "the version differs (driver 22.0)" in done.stdout
    assert not [line for line in seen if str(tmp_path) in json.dumps(line)], "places are left out"


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> list[dict]:
    """What quick cases see on the stand-in itself."""
    done, seen = conformance(STANDIN, tmp_path_factory.mktemp("quick") / "seen.jsonl", QUICK)
    assert done.returncode == 0 and len(seen) > 20 and all(line["same"] for line in seen)
    return seen


def replay(seen: list[dict], folder: Path) -> subprocess.CompletedProcess:
    """Run the same cases with these observations as what a chip has shown."""
    (folder / "facts").mkdir()
    (folder / "facts/Ascend310P3-9.json").write_text(json.dumps({"observations": seen}))
    return conformance(STANDIN, folder / "seen.jsonl", QUICK, "--recorded", str(folder / "facts"))[0]


def changed(seen: list[dict], **to) -> list[dict]:
    """Return the observations with the first one of the fact npu_smi.refusals changed."""
    first = next(line for line in seen if line["fact"] == "npu_smi.refusals")
    return [{**line, **to} if line is first else line for line in seen]


def test_what_a_chip_confirmed_is_replayed(shown, tmp_path):
    assert "passed" in replay(shown, tmp_path).stdout


def test_an_expectation_that_a_chip_confirmed_must_not_change(shown, tmp_path):
    done = replay(changed(shown, expected=False, observed=False), tmp_path)
    assert done.returncode == 1 and "a chip has confirmed otherwise" in done.stdout and "1 failed" in done.stdout


def test_where_the_stand_in_is_known_to_be_wrong_the_case_is_expected_to_fail(shown, tmp_path):
    done = replay(changed(shown, same=False, observed=False, **{"class": "the stand-in is wrong"}), tmp_path)
    assert done.returncode == 0 and "1 xfailed" in done.stdout and "npu_smi.refusals: a chip shows False" in done.stdout


@pytest.mark.parametrize("kind", ["the version differs", "the chip lacks it"])
def test_another_version_asks_for_nothing(shown, tmp_path, kind):
    done = replay(changed(shown, same=False, observed=False, **{"class": kind}), tmp_path)
    assert done.returncode == 0 and "xfailed" not in done.stdout


def test_a_tool_that_is_not_there_is_one_difference(tmp_path):
    tools = tmp_path / "tools"
    shutil.copytree(STANDIN, tools, ignore=shutil.ignore_patterns("tests", "conformance", "__pycache__"))
    for tool in ("msame", "ais_infer.py"):
        (tools / "bin" / tool).unlink()
    done, seen = conformance(tools, tmp_path / "seen.jsonl", "test_msame or test_ais_infer or test_tools")
    assert [(line["case"], line["class"]) for line in seen if not line["same"]] == [
        (f"tools/command[{tool}]", "the chip lacks it") for tool in ("msame", "ais_infer.py")]
    assert "skipped" in done.stdout


def test_every_fact_is_known_and_every_known_fact_is_looked_at():
    sources = "\n".join(path.read_text() for path in (STANDIN / "conformance").glob("*.py"))
    table = (STANDIN / "conformance" / "facts.toml").read_text().partition("[other.")[0]
    known = {f"{tool}.{name}" for tool, facts in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", table, re.M | re.S)
             for name in re.findall(r"^(\w+) = ", facts, re.M)}
    made_up = {f"fp16.rounds_{name}"
               for name in ("add", "sub", "mul", "div")} | {"ais_bench.threads", "ais_bench.pipeline"}
    tools = "|".join({name.partition(".")[0] for name in known})
    used = set(re.findall(rf'"((?:{tools})\.\w+)"', sources)) - {"ais_infer.py"}
    assert used | made_up == known


def test_the_cases_are_not_run_by_chance():
    listed = subprocess.run([*PYTEST, "--collect-only", "common/standin"], cwd=ROOT, text=True, capture_output=True,
                            check=False).stdout
    assert "standin/tests/test_atc.py" in listed and "conformance/test_atc.py" not in listed


def test_a_command_that_does_not_answer_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    import cases

    monkeypatch.setattr(cases, "TIMEOUT_S", 1)
    book = cases.Book({"a.fact": cases.Fact("it answers", "guess", "here")}, [], tmp_path / "seen.jsonl")
    case = cases.Case("odd", tmp_path, book, "Ascend310P3")
    with pytest.raises(cases.Differs):
        case.do("a.fact", "(sleep 60; echo late) & echo $! >pid; wait")
    assert json.loads((tmp_path / "seen.jsonl").read_text())["observed"] == "exit #: no answer within # s"
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/status")
    assert not status.exists() or "\nState:\tZ" in status.read_text()
