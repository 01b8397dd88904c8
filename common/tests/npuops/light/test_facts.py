"""From what a chip showed to files in the tree: costs by length, the report's parts, the way home."""
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.corpus import gears
from npukit.errors import UserError
from npuops.light import differences, facts, tarball
from npuops.light import report as first_light_report
from npuops.light.steps import DONE, LEFT_OUT, Plan
from npuops.light.tarball import Cleaner


def observation(case="atc/help", fact="atc.help", same=True, **more) -> dict:
    seen = {"case": case, "fact": fact, "time": 0, "says": "it helps", "source": "GE", "certainty": "source",
            "command": "atc --help", "expected": "done", "observed": "done" if same else "exit 1", "same": same}
    return {**seen, **({} if same else {"class": "the stand-in is wrong"}), **more}


def told(**changed) -> dict:
    return {"schema": 1, "chip": "Ascend310P3", "soc": "Ascend310P3", "standin": False,
            "versions": {"cann": "8.1.RC1", "driver": "24.1.0.3"},
            "costs": {"elmo": {"1": {"8": 2.0}, "8": {"8": 1.0, "16": 3.0, "32": 2.0}}},
            "observations": [observation(), observation(fact="atc.dots", same=False)], **changed}


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "tree/models/elmo").mkdir(parents=True)
    (tmp_path / "tree/models/elmo/Makefile").touch()
    return tmp_path / "tree"


def packed(path: Path, value) -> Path:
    tarball.pack(path, {"facts.json": value if isinstance(value, str) else json.dumps(value)},
                 Cleaner({}, ["24.1.0.3"]))
    return path


# --- Home -----------------------------------------------------------------------------------------------------------------


def test_a_tarball_becomes_recorded_cases_and_costs(tree, tmp_path):
    cases, cost = facts.take(packed(tmp_path / "t.tar.gz", told()), tree)
    assert cases == tree / "common/standin/facts/Ascend310P3-8.1.RC1.json" and cost == tree / "models/elmo/costs/Ascend310P3.json"
    recorded = json.loads(cases.read_text())
    assert [(seen["fact"], seen["same"])
            for seen in recorded["observations"]] == [("atc.help", True), ("atc.dots", False)]
    assert recorded["versions"]["driver"] == "24.1.0.3" and "says" not in recorded["observations"][0]
    assert gears.read_costs(cost) == {8: 1.0, 16: 3.0, 32: 3.0}


def test_of_one_length_there_is_no_choice(tree, tmp_path):
    assert len(facts.take(packed(tmp_path / "t.tar.gz", told(costs={"elmo": {"1": {"8": 2.0}}})), tree)) == 1


def test_a_stand_ins_costs_are_called_so(tree, tmp_path):
    path = packed(tmp_path / "t.tar.gz", told(chip="Ascend310P3-standin", standin=True))
    assert [made.name
            for made in facts.take(path, tree)] == ["Ascend310P3-standin-8.1.RC1.json", "Ascend310P3-standin.json"]


@pytest.mark.parametrize("changed, words", [
    ({"schema": 2}, "schema 2"), ({"chip": "../../x"}, "where a name or a version belongs"),
    ({"versions": {"cann": "../x"}}, "name or a version"),
    ({"costs": {"../elmo": {}}}, "name or a version"), ({"costs": {"gpt": {"1": {"8": 1.0}}}}, "no such model here"),
    ({"standin": True}, "do not go together"),
    ({"observations": [{"case": "x"}]}, "no facts of first light: KeyError"),
    ({"observations": [observation(same=False, **{"class": "odd"})]}, "there is no class 'odd'"),
    ({"costs": {"elmo": 3}}, "AttributeError"),
    ({"observations": [observation(time="0")]}, "an observation that is none"),
    ({"costs": {"elmo": {"a": {"8": 1}}}}, "ValueError")])
def test_what_cannot_be_is_refused(tree, tmp_path, changed, words):
    with pytest.raises(UserError, match=words):
        facts.take(packed(tmp_path / "t.tar.gz", told(**changed)), tree)
    assert not list(tree.glob("models/*/costs/*"))


@pytest.mark.parametrize("text", ["[", "[]", "3", "{}"])
def test_facts_that_are_none(tree, tmp_path, text):
    with pytest.raises(UserError, match="has no facts of first light"):
        facts.take(packed(tmp_path / "t.tar.gz", text), tree)


# --- Costs of lengths ----------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(1, 64), st.dictionaries(st.integers(1, 512), st.floats(0.01, 100), min_size=1),
                       min_size=1))
def test_costs_that_a_chip_showed_always_rise(table):
    told = {str(batch): {str(length): cost for length, cost in costs.items()} for batch, costs in table.items()}
    found = gears.of_costs(told)
    largest = max((batch for batch, costs in table.items() if len(costs) > 1), default=None)
    if largest is None:
        assert found == {}
        return
    assert found.keys() == table[largest].keys()
    for length, cost in found.items():
        assert cost == max(its for shorter, its in table[largest].items() if shorter <= length)
    gears.interpolated(found)  # takes them


def test_a_slower_gear_is_not_chosen():
    lengths = np.array([10] * 50 + [60] * 50 + [120] * 50)
    assert gears.choose(lengths, 3) == [10, 60, 120]
    slow = gears.of_costs({"8": {"10": 1.0, "60": 9.0, "120": 4.0}})
    assert gears.choose(lengths, 3, slow) == [10, 120]


@pytest.fixture
def plan(tmp_path) -> Plan:
    return Plan(tmp_path, tmp_path / "out", "Ascend310P3", False, ("elmo",), (1, 8), "tiny")


def summary(folder: Path, shapes: list[tuple], times: list[float], files_a_batch: int = 1) -> None:
    """Write what an infer stage leaves: a summary and the inputs that it names."""
    (folder / "batches").mkdir(parents=True)
    names = [f"batches/batch_{i}.npy" for i in range(len(shapes))]
    for name, shape in zip(names, shapes):
        np.save(folder / name, np.zeros(shape, np.int32))
    each = {str(i): {"infiles": [name], "outfiles": []} for i, name in enumerate(names)}
    (folder / "outputs_summary.json").write_text(json.dumps({"npu_compute_time_list": times, "filesinfo": each}))


def test_costs_come_from_the_batches_and_their_lengths(plan):
    summary(plan.gears / "Ascend310P3/tiny/elmo/bs8/infer", [(8, 16, 50), (8, 16, 50), (8, 4, 50), (8, 16, 50)],
            [16.0, 24.0, 4.0, 80.0])
    summary(plan.out / "Ascend310P3/tiny/elmo/bs1/infer", [(32, 50)] * 4, [3.0, 5.0])
    summary(plan.out / "Ascend310P3/tiny/elmo/bs4/infer", [(32, 50)] * 4, [3.0, 5.0])
    summary(plan.out / "Ascend310P3/random/elmo/bs1/infer", [(32, 50)] * 4, [30.0, 50.0])
    assert first_light_report.costs(plan) == {"elmo": {"1": {"50": 4.0}, "8": {"4": 0.5, "16": 3.0}}}


def test_msame_tells_no_lengths(plan):
    infer = plan.out / "Ascend310P3/tiny/elmo/bs1/infer"
    infer.mkdir(parents=True)
    (infer / "outputs_summary.json").write_text('{"npu_compute_time_list": [3.0]}')
    assert first_light_report.costs(plan) == {"elmo": {"1": {}}}


def test_what_is_wrong_with_the_tarball_stops_no_step(plan, capsys, monkeypatch):
    monkeypatch.setattr(first_light_report, "write", lambda *_: {}["costs"])
    first_light_report.try_write(plan, [])
    assert capsys.readouterr().out == "no tarball yet: KeyError: 'costs'\n"


def test_lengths_that_are_slower_than_longer_ones_are_named():
    rows = first_light_report.lengths({"elmo": {"8": {"8": 3.1, "16": 2.0, "32": 9.0}}})
    assert [row[-1] for row in rows] == ["slower than 16", "", ""]


# --- The report ------------------------------------------------------------------------------------------------------------------


def test_differences_are_listed_by_class_and_fact(tmp_path):
    seen = [observation(), observation(case="a", fact="atc.dots", same=False),
            observation(case="b", fact="atc.dots", same=False),
            observation(fact="atc.help", case="c", same=False, **{"class": "the chip lacks it"}),
            observation(fact="atc.first", same=False, version="2022", **{"class": "the version differs"}),
            observation(fact="g.held", certainty="guess", says="so it is"),
            observation(fact="g.fell", certainty="guess", same=False)]
    path = tmp_path / "seen.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in seen) + '{"case": "cut sh')
    assert differences.read([path, tmp_path / "none"]) == seen
    text = differences.text(seen)
    order = ["7 observations; 4 facts differ: 2 the stand-in is wrong, 1 the version differs, 1 the chip lacks it.",
             "The stand-in is wrong:",
             "atc.dots: it helps (source: GE).", "case      a And in 1 more observation.", "command   atc --help",
             "observed  exit 1",
             "g.fell", "The version differs:", "atc.first", "This is how 2022 does it.", "The chip lacks it:",
             "atc.help"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert differences.confirmed(seen) == ["g.held: so it is"]


def test_the_report_of_nothing_yet_can_be_read():
    records = [{"name": "doctor", "npu": False, "status": DONE, "seconds": 1.0, "why": None},
               {"name": "elmo bs1, infer", "npu": True, "status": LEFT_OUT, "seconds": 60.0,
                "why": "the minutes are used up"}]
    text = first_light_report.markdown(told(costs={}, observations=[]), records, [], [], [])
    assert "On the chip itself." in text and "Steps not done: elmo bs1, infer." in text and "held for 1.0 minutes" in text
    assert "nothing here is a chip's" in first_light_report.markdown(told(standin=True, costs={}), records, [], [], [])


def reported(standin=False, f1=0.7, apart=1e-3, **more) -> dict:
    """What first light reads of a report."""
    return {"model": "elmo", "profile": "tiny", "batch_size": 1, "seq_lens": [8], "standin": standin, "metric": "f1",
            "metrics": {"f1": f1},
            "reference": {"f1": 0.8}, "weights": {"kind": "shipped", "parameters": 1000},
            "fidelity": {"max_abs": apart},
            "original": {"parameters": 1000, "rows": [{"batch_size": 1, "throughput_per_s": 40.0}]},
            "performance": {"pure_inference": {"samples_per_s": 50.0}}, **more}


def test_the_chip_stands_beside_what_the_twin_foretold():
    rows = first_light_report.beside([reported(), reported(model="other")], [reported(True, 0.75, 2e-3)])
    assert rows == [("elmo", 1, "f1", "0.7000", "0.7500", "0.8000", "1.0e-03", "2.0e-03"),
                    ("other", 1, "f1", "0.7000", "-", "0.8000", "1.0e-03", "n/a")]


def test_only_a_chips_speed_stands_beside_the_originals():
    assert first_light_report.originals([reported(), reported(standin=True),
                                         reported(batch_size=4)]) == [("elmo", 1, "50.0", "40", "1.25")]


def test_versions_are_those_of_the_tools(plan, tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "npu-smi").write_text("#!/bin/bash\ncase $* in info) echo '| npu-smi 24.1.rc3   Version: 24.1.0.3 |';;\n"
                                   "'info -l') echo 'NPU ID : 7';; 'info -t board -i 7') echo '  Firmware Version : 7.5.0.1.220';; esac\n")
    (tools / "npu-smi").chmod(0o755)
    (tmp_path / "cann").mkdir()
    (tmp_path / "cann/version.cfg").write_text("runtime_running_version=[8.1.RC1:8.1.RC1]\n")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path / "cann"))
    found = first_light_report.versions(plan)
    assert {name: found[name] for name in ("npu_smi", "driver", "firmware", "cann")} == {
        "npu_smi": "24.1.rc3", "driver": "24.1.0.3", "firmware": "7.5.0.1.220", "cann": "8.1.RC1"}
    assert found["python"] and found["npukit"]
