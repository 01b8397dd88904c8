"""The graph: what waits for what, how many NPUs at a time, what a site's profile may say."""
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import made

from npukit.cluster import plan, site
from npukit.errors import UserError
from npukit.files import write_json

SIZES = st.dictionaries(st.sampled_from(["elmo", "bilstm_crf", "spanbert", "bert_base", "ner"]), st.integers(1, 6), min_size=1)


@given(SIZES, st.integers(1, 12))
def test_never_more_infer_jobs_at_once_than_asked(sizes, limit):
    """By playing it: every lane runs as many of its tasks as it may."""
    turns = plan.turns(sizes, limit)
    lanes: dict[str, list[str]] = {}
    for model, (_, previous) in turns.items():
        head = next((first for first, members in lanes.items() if members[-1] == previous), None)
        if head is None:
            assert previous is None
            lanes[model] = [model]
        else:
            lanes[head].append(model)
    at_once = [max(turns[model][0] for model in members) for members in lanes.values()]
    assert sum(at_once) <= limit and all(1 <= turns[model][0] <= size for model, size in sizes.items())
    assert sum(at_once) == min(limit, sum(sizes.values())) or limit < len(sizes), "no NPU is left out that could be used"
    assert sorted(itertools.chain(*lanes.values())) == sorted(sizes)


def test_no_limit_is_no_limit():
    assert plan.turns({"a": 3, "b": 2}, None) == {"a": (3, None), "b": (2, None)}


@given(SIZES, st.none() | st.integers(1, 12))
def test_every_group_comes_after_what_it_waits_for(sizes, limit):
    groups = plan.graph({model: list(range(1, n + 1)) for model, n in sizes.items()}, limit)
    seen: set[str] = set()
    for group in groups:
        assert {group.after, group.turn} - {None} <= {g.name for g in groups if g.name in seen}
        assert group.npu == (group.kind == "infer") == (group.at_once is not None)
        seen.add(group.name)
    tasks = {task.name: task for group in groups for task in group.tasks}
    assert all(set(task.after) <= set(tasks) for task in tasks.values())
    assert len(tasks) == 1 + sum(1 + 3 * n for n in sizes.values())
    assert len(tasks["table"].after) == sum(sizes.values())


def test_a_plan_is_read_back_as_it_was(tmp_path):
    for cluster in ("slurm", "kubernetes", "volcano"):
        (tmp_path / "plan.json").write_text(plan.dumped(made(cluster)))
        assert plan.load(tmp_path / "plan.json") == made(cluster)
    (tmp_path / "plan.json").write_text(json.dumps({"schema": 2}))
    with pytest.raises(UserError, match="another version"):
        plan.load(tmp_path / "plan.json")


def test_the_cost_is_what_the_last_reports_say(tmp_path):
    asked = made("slurm")
    asked = plan.Plan(**{**vars(asked), "variables": asked.variables | {"OUT_ROOT": str(tmp_path)}})
    write_json(tmp_path / "Ascend310P3/released/bilstm_crf/bs32/postprocess/report.json",
               {"provenance": {"seconds": {"infer": 90.0, "perf": 30.0, "atc": 500.0}}})
    assert plan.npu_minutes(asked) == {"bert_base_sst2-infer-bs8": None, "bilstm_crf-infer-bs1": None, "bilstm_crf-infer-bs32": 2.0}
    assert "NPU minutes: 2.0 for 1 of 3 infer jobs" in (text := plan.described(asked)) and "the other 2 have no report yet" in text
    assert "bilstm_crf-infer " in text and "all of bert_base_sst2-infer" in text


# --- The site's profile --------------------------------------------------------------------------------------------------------------


def test_no_profile_is_the_default():
    assert site.read(None) == site.Site()


def test_the_documented_profile_is_read(tmp_path):
    """docs/site.toml names every key there is."""
    from dataclasses import fields
    from pathlib import Path

    path = Path(__file__).parents[3] / "docs" / "site.toml"
    site.read(path)
    text = path.read_text()
    for cls in (site.Site, site.SlurmSite, site.KubernetesSite):
        for name in (field.name for field in fields(cls)):
            assert f"\n{name} = " in text or f"\n# {name} = " in text or f"[{name}]" in text, name


@pytest.mark.parametrize("text, said", [
    ("cpu = 4", "there is no key cpu; there are: engine, image"), ("[slurm]\nqueue = 'x'", "slurm: there is no key queue"),
    ("cpus = '4'", "cpus = '4'; expected int"), ("cpus = true", "cpus = True; expected int"), ("cpus = 0", "cpus = 0; minutes are of"),
    ("engine = 'lxc'", "engine = 'lxc'; it is one of none, docker"), ("engine = 'apptainer'", "needs image = the path of a .sif"),
    ("minutes = {infer = 0}", "minutes.infer = 0"), ("minutes = {inference = 5}", "minutes.inference = 5"),
    ("[slurm]\npartition = 'a\\nb'", "a backslash or a character that cannot be printed"), ("cpus = ", "is no TOML")])
def test_a_wrong_profile_is_answered(tmp_path, text, said):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        site.read(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_minutes_are_laid_over_the_default(tmp_path):
    (tmp_path / "site.toml").write_text("minutes = {infer = 7}")
    assert site.read(tmp_path / "site.toml").minutes == site.Site().minutes | {"infer": 7}
