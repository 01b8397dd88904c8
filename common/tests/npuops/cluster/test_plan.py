"""The graph: what waits for what, how many NPUs at a time, what a site's profile may say."""
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import made

from npukit.errors import UserError
from npukit.files import write_json
from npuops.cluster import plan, site
from npuops.cluster.main import CLUSTERS

SIZES = st.dictionaries(st.sampled_from(["elmo", "bilstm_crf", "spanbert", "bert_base", "ner"]), st.integers(1, 6),
                        min_size=1)


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
    assert sum(at_once) == min(limit,
                               sum(sizes.values())) or limit < len(sizes), "no NPU is left out that could be used"
    assert sorted(itertools.chain(*lanes.values())) == sorted(sizes)


def test_no_limit_is_no_limit():
    assert plan.turns({"a": 3, "b": 2}, None) == {"a": (3, None), "b": (2, None)}


@given(SIZES, st.none() | st.integers(1, 12))
def test_every_group_comes_after_what_it_waits_for(sizes, limit):
    groups = plan.graph({model: list(range(1, n + 1)) for model, n in sizes.items()}, limit)
    seen: set[str] = set()
    for group in groups:
        assert {group.after, group.turn} - {None} <= {g.name for g in groups if g.name in seen}
        assert (group.kind == "infer") == (group.at_once is not None)
        seen.add(group.name)
    tasks = {task.name: task for group in groups for task in group.tasks}
    assert all(set(task.after) <= set(tasks) for task in tasks.values())
    assert len(tasks) == 1 + sum(1 + 3 * n for n in sizes.values())
    assert len(tasks["table"].after) == sum(sizes.values())


def test_a_plan_is_read_back_as_it_was(tmp_path):
    for cluster in ("slurm", "argo", "volcano"):
        (tmp_path / "plan.json").write_text(plan.dumped(made(cluster)))
        assert plan.load(tmp_path / "plan.json") == made(cluster)
    whole = json.loads((tmp_path / "plan.json").read_text())
    for spoil, said in ((lambda p: p["groups"][0].pop("kind"), r"plan.json: groups\[0\]: the key kind is missing"),
                        (lambda p: p["site"].update(retries="3"), "plan.json: site: retries = '3'; expected int")):
        spoil(spoilt := json.loads(json.dumps(whole)))
        (tmp_path / "plan.json").write_text(json.dumps(spoilt))
        with pytest.raises(UserError, match=said):
            plan.load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(json.dumps({"schema": plan.SCHEMA - 1}))
    with pytest.raises(UserError, match="another version"):
        plan.load(tmp_path / "plan.json")


def test_the_cost_is_what_the_last_reports_say(tmp_path):
    asked = made("slurm")
    asked = plan.Plan(**{**vars(asked), "variables": asked.variables | {"OUT_ROOT": str(tmp_path)}})
    write_json(tmp_path / "Ascend310P3/released/bilstm_crf/bs32/postprocess/report.json",
               {"provenance": {"seconds": {"infer": 90.0, "perf": 30.0, "atc": 500.0}}})
    assert plan.npu_minutes(asked) == {"bert_base_sst2-infer-bs8": None, "bilstm_crf-infer-bs1": None,
                                       "bilstm_crf-infer-bs32": 2.0}
    assert "NPU minutes: 2.0 for 1 of 3 infer jobs" in (text := plan.described(asked)) and "the other 2 have no report yet" in text
    assert "bilstm_crf-infer " in text and "all of bert_base_sst2-infer" in text


@pytest.mark.parametrize("cluster", ["slurm", "argo", "volcano"])
@pytest.mark.parametrize("soc, standin",
                         [("cpu", ""), ("cpu", "1"), ("Ascend310P3", "1"), ("Ascend310P3", ""), ("Ascend910B4", "")])
@pytest.mark.parametrize("even", [False, True])
def test_an_npu_is_asked_for_by_inference_on_a_chip_alone(cluster, soc, standin, even):
    asked = made(cluster, max_npus=None, soc=soc, standin=standin, slurm=site.SlurmSite(even=even))
    chip = soc != "cpu" and not standin
    for group in asked.groups:
        assert asked.npus(group) == (2 if even and cluster == "slurm" else 1) * (chip and group.kind == "infer")
    said = plan.described(asked)
    assert ("0 NPUs: the stand-in" in said) == ("; no NPU\n" in said) == ("NPU minutes" not in said) == (not chip)
    words = "".join(text for name, text in CLUSTERS[cluster](asked).job_texts().items() if name != "plan.yaml")
    assert ("--gres=" in words if cluster == "slurm" else "ascend" in words.lower()) == chip


def test_memory_is_the_site_s_or_more_where_the_model_needs_more(tmp_path):
    asked = made("slurm", memory_gib=site.Site().memory_gib | {"compile": 6})
    memory = {group.name: asked.memory(group) for group in asked.groups}
    assert (memory["bert_base_sst2-compile"], memory["bilstm_crf-compile"], memory["table"]) == (12, 6, 1)
    assert "4 CPUs, 12 GiB" in plan.described(asked) and "1 CPU, 1 GiB" in plan.described(asked)
    (tmp_path / "models" / "x").mkdir(parents=True)
    (tmp_path / "models" / "x" / "Makefile").write_text("BATCHES = 1 4\nMEMORY_GIB_compile = 12\n# MEMORY_GIB_infer = 9\n")
    assert plan.declared_memory(tmp_path, ["x"], "random") == {"x": {"compile": 12}}
    assert plan.declared_memory(tmp_path, ["x"], "tiny") == {"x": {}}


@pytest.mark.parametrize("assign", ["=", " = ", " := ", ":=", " ?= "])
def test_a_makefile_may_assign_as_it_likes(assign, tmp_path):
    (tmp_path / "models" / "x").mkdir(parents=True)
    (tmp_path / "models" / "x" / "Makefile").write_text(f"BATCHES{assign}1 4\nPROFILES{assign}tiny random \n")
    assert plan.requested(tmp_path, ["x"], "all", "random") == {"x": [1, 4]}
    with pytest.raises(UserError, match="x has no batch size 8; it has: 1 4"):
        plan.requested(tmp_path, ["x"], "8", "tiny")


def test_what_the_models_declare_are_kinds_of_jobs():
    root = Path(__file__).parents[4]
    told = plan.declared_memory(root, [path.parent.name for path in root.glob("models/*/Makefile")], "released")
    assert any(told.values()) and {kind for memory in told.values() for kind in memory} <= set(plan.GOALS)


# --- The site's profile --------------------------------------------------------------------------------------------------------------


def test_no_profile_is_the_default():
    assert site.read(None) == site.Site()


def test_the_documented_profile_is_read(tmp_path):
    """docs/site.toml names every key there is."""
    from dataclasses import fields

    path = Path(__file__).parents[4] / "docs" / "site.toml"
    site.read(path)
    text = path.read_text()
    for cls in (site.Site, site.SlurmSite, site.KubernetesSite):
        for name in (field.name for field in fields(cls)):
            assert f"\n{name} = " in text or f"\n# {name} = " in text or f"[{name}]" in text, name


@pytest.mark.parametrize("text, said", [
    ("cpu = 4", "there is no key cpu; there are: engine, image"),
    ("[slurm]\nqueue = 'x'", "slurm: there is no key queue"),
    ("modules = 4", "there is no key modules"), ("[slurm]\nmodules = ['a', 4]", "slurm: modules[1] = 4; expected str"),
    ("[kubernetes]\nlabels = {a = 1}", "kubernetes: labels.a = 1; expected str"),
    ("slurm = 1", "slurm = 1; expected dict"),
    ("cpus = 4", "cpus = 4; expected dict"), ("retries = '4'", "retries = '4'; expected int"),
    ("retries = true", "retries = True; expected int"),
    ("grace = 0", "grace = 0; cpus, memory_gib, minutes are of"), ("cpus = {infer = '4'}", "cpus.infer = '4'"),
    ("memory_gib = {table = 0}", "memory_gib.table = 0"),
    ("engine = 'lxc'", "engine = 'lxc'; it is one of none, docker"),
    ("engine = 'apptainer'", "needs image = the path of a .sif"),
    ("minutes = {infer = 0}", "minutes.infer = 0"), ("minutes = {inference = 5}", "minutes.inference = 5"),
    ("[slurm]\npartition = 'a\\nb'", "a backslash or a character that cannot be printed"), ("cpus = ", "is no TOML")])
def test_a_wrong_profile_is_answered(tmp_path, text, said):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        site.read(path)
    assert said in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("name", site.PER_KIND)
def test_what_is_said_of_a_kind_is_laid_over_the_default(name, tmp_path):
    (tmp_path / "site.toml").write_text(f"{name} = {{infer = 7}}")
    assert getattr(site.read(tmp_path / "site.toml"), name) == getattr(site.Site(), name) | {"infer": 7}
