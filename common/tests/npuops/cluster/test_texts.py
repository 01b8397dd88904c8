"""The job texts: nothing that a name or a path says can be more than one word; golden files; the schedulers' own schemas."""
import json
import os
import shlex
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from plans import KUBERNETES, SLURM, made

from npukit.errors import UserError
from npuops.cluster import texts
from npuops.cluster.kubernetes import Kubernetes
from npuops.cluster.main import CLUSTERS

HERE = Path(__file__).parent
VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # every Kubernetes that had maintenance when this was written
VISIBLE = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\\"), min_size=1)
VISIBLE_AND_BLANKS = st.lists(VISIBLE, min_size=1).map(" ".join)


@given(VISIBLE_AND_BLANKS)
def test_a_value_is_one_word_of_a_shell(value):
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {texts.quote_shell(value)}"], capture_output=True, check=True)
    assert done.stdout.decode() == value + "\0"


@given(st.lists(VISIBLE_AND_BLANKS))
def test_a_list_is_as_many_words(values):
    assert shlex.split(texts.quote_shell(values)) == values


@given(st.dictionaries(VISIBLE, VISIBLE_AND_BLANKS) | st.lists(VISIBLE_AND_BLANKS) | VISIBLE_AND_BLANKS | st.integers() | st.booleans())
def test_a_value_is_one_value_of_yaml(value):
    assert yaml.safe_load(f"a: [{texts.quote_yaml(value)}]\nb: 1") == {"a": [value], "b": 1}


HOSTILE = ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "a: b", "- x", "{a: b}", "#", "*x", "!!python/x",
           "x}\"]", "--wrap=x", "é中"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_stay_names_in_slurm(value, tmp_path):
    """bash runs the text with stubs of what it calls; each stub prints its words."""
    plan = made("slurm", slurm=SLURM.__class__(partition=value, account=value, modules=[value]), folder=f"/out/{value}")
    plan.variables["VENV"] = str(tmp_path / value.replace("/", "_"))
    text = CLUSTERS["slurm"](plan).job_texts()["bilstm_crf-infer.sbatch"]
    assert len(text.splitlines()) == len(job_lines()) and f"#SBATCH --account={shlex.quote(value)}" in text.splitlines()
    stubs = "module() { printf '%s\\0' \"$@\"; }; srun() { printf '%s\\0' \"$@\"; }; exec() { :; }\n"
    done = subprocess.run(["bash", "-c", stubs + text], capture_output=True, text=True, cwd=tmp_path,
                          env={"SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "4"})
    words = done.stdout.split("\0")
    assert words[:2] == ["load", value] and f"/out/{value}/plan.json" in words and not list(tmp_path.iterdir()), done.stderr


def job_lines() -> list[str]:
    plan = made("slurm", slurm=SLURM.__class__(partition="p", account="a", modules=["m"]))
    return CLUSTERS["slurm"](plan).job_texts()["bilstm_crf-infer.sbatch"].splitlines()


@pytest.mark.parametrize("cluster", ["kubernetes", "volcano"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_stay_names_in_yaml(cluster, value):
    site = KUBERNETES.__class__(namespace=value, data_claim=value, host_paths=[value], node_selector={value: value})
    plan = made(cluster, kubernetes=site)
    plan.variables["LOOP"] = value
    for name, text in CLUSTERS[cluster](plan).job_texts().items():
        manifest = yaml.safe_load(text)
        assert manifest["metadata"].get("namespace", value) == value if name != "kustomization.yaml" else manifest["resources"]
        if name == "plan.yaml":
            assert json.loads(manifest["data"]["plan.json"])["variables"]["LOOP"] == value
        if pod := pod_of(manifest):
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            assert volumes["data"]["persistentVolumeClaim"]["claimName"] == value
            assert pod["spec"].get("nodeSelector", {value: value}) == {value: value}


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\u2028b", "a\x85b", "a\tb", "a\\b", "\u202eb"])
def test_what_cannot_be_seen_is_refused(value):
    sites = {"slurm": SLURM.__class__(account=value), "kubernetes": KUBERNETES.__class__(out_claim=value)}
    for cluster in CLUSTERS:
        with pytest.raises(UserError, match="a backslash or a character that cannot be printed"):
            CLUSTERS[cluster](made(cluster, **sites)).job_texts()


def test_lines_without_a_value_are_left_out():
    text = CLUSTERS["slurm"](made("slurm", slurm=SLURM.__class__())).job_texts()["table.sbatch"]
    assert not [word for word in ("--partition", "--account", "--qos", "--array", "--gres", "module") if word in text]


# --- Golden files: what an administrator reads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_texts_are_those_that_were_read_by_eye(cluster):
    """NPUKIT_WRITE_GOLDEN=1 writes them anew; git diff then shows what has changed."""
    scheduler = CLUSTERS[cluster](made(cluster))
    texts_of = "".join(f"--- {name}\n{text}" for name, text in scheduler.job_texts().items())
    text = "\n".join(scheduler.steps()) + "\n" + texts_of
    golden = HERE / f"golden_{cluster}.txt"
    if os.environ.get("NPUKIT_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


# --- Schemas --------------------------------------------------------------------------------------------------------------------------


def pod_of(manifest: dict) -> dict | None:
    spec = manifest.get("spec", {})
    return spec["tasks"][0]["template"] if "tasks" in spec else spec.get("template")


def valid(manifest: dict, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [{}, {"max_npus": None, "kubernetes": KUBERNETES.__class__()}], ids=["all", "little"])
def test_kubernetes_takes_the_manifests(version, options):
    files = Kubernetes(made("kubernetes", **options)).job_texts()
    manifests = [yaml.safe_load(text) for name, text in files.items() if name != "kustomization.yaml"]
    manifests += yaml.safe_load_all((texts.FOLDER / "kubernetes" / "rbac.yaml").read_text())
    for manifest in manifests:
        valid(manifest, version)
        assert len(manifest["metadata"]["name"]) <= 63 and manifest["metadata"]["name"].replace("-", "").isalnum()


def test_a_wrong_manifest_is_seen():
    manifest = yaml.safe_load(Kubernetes(made("kubernetes")).job_texts()["table.yaml"])
    manifest["spec"]["podFailurePolicy"]["rules"][0]["aktion"] = "Ignore"
    with pytest.raises(kubernetes_validate.ValidationError):
        valid(manifest, VERSIONS[0])


VOLCANO = json.loads((HERE / "volcano.schema.json").read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_volcano_takes_the_manifests(version):
    """The parts that are Volcano's own by the checked-in extract of its definitions, the pods by Kubernetes' own."""
    for name, text in CLUSTERS["volcano"](made("volcano")).job_texts().items():
        manifest = yaml.safe_load(text)
        if name == "plan.yaml":
            valid(manifest, version)
        elif name != "kustomization.yaml":
            volcano_valid(manifest)
            if pod := pod_of(manifest):
                valid({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **pod["metadata"]}, "spec": pod["spec"]}, version)


def volcano_valid(manifest: dict) -> None:
    jsonschema.validate(manifest, {**VOLCANO["kinds"][manifest["kind"]], "$defs": VOLCANO["$defs"]})


@pytest.mark.parametrize("spoil", [
    lambda m: m["spec"]["policies"][0].update(event="PodGone"), lambda m: m["spec"]["policies"][1].update(event="PodFailed"),
    lambda m: m["spec"].update(minavailable=1), lambda m: m["spec"]["tasks"][0].update(name="Task_1"),
    lambda m: m["spec"]["policies"][1].update(exitCode=0)])
def test_a_wrong_volcano_job_is_seen(spoil):
    manifest = yaml.safe_load(CLUSTERS["volcano"](made("volcano")).job_texts()["table.yaml"])
    volcano_valid(manifest)
    spoil(manifest)
    with pytest.raises(jsonschema.ValidationError):
        volcano_valid(manifest)


def test_the_pods_are_as_little_as_can_be():
    for cluster in ("kubernetes", "volcano"):
        for name, text in CLUSTERS[cluster](made(cluster)).job_texts().items():
            if not (pod := pod_of(yaml.safe_load(text))):
                continue
            container, resources = pod["spec"]["containers"][0], pod["spec"]["containers"][0]["resources"]
            assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert resources["limits"] == resources["requests"]
            assert ("huawei.com/Ascend310P" in resources["limits"]) == ("-infer" in name) == ("nodeSelector" in pod["spec"])
            assert resources["limits"].get("huawei.com/Ascend310P", 1) == 1


def test_only_waiting_jobs_are_suspended_and_codes_mean_what_they_say():
    for name, text in Kubernetes(made("kubernetes")).job_texts().items():
        manifest = yaml.safe_load(text)
        if manifest["kind"] == "Job":
            assert manifest["spec"]["suspend"] == ("prepare" not in name)
            rules = manifest["spec"]["podFailurePolicy"]["rules"]
            assert rules[0]["action"] == "Ignore" and 75 in rules[0]["onExitCodes"]["values"]
            assert rules[2]["action"] == ("FailIndex" if manifest["spec"]["completions"] > 1 else "FailJob")
            assert rules[2]["onExitCodes"]["values"] == [2]
