"""The job texts: nothing that a name or a path says can be more than one word; golden files; the schedulers' own schemas."""
import json
import os
import re
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
from npuops.cluster import argo, render
from npuops.cluster.main import CLUSTERS

HERE = Path(__file__).parent
VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # every Kubernetes that had maintenance when this was written
VISIBLE = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\\"), min_size=1)
VISIBLE_AND_BLANKS = st.lists(VISIBLE, min_size=1).map(" ".join)


@given(VISIBLE_AND_BLANKS)
def test_a_value_is_one_word_of_a_shell(value):
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {render.words(value)}"], capture_output=True, check=True)
    assert done.stdout.decode() == value + "\0"


@given(st.lists(VISIBLE_AND_BLANKS))
def test_a_list_is_as_many_words(values):
    assert shlex.split(render.words(values)) == values


@given(st.dictionaries(VISIBLE, VISIBLE_AND_BLANKS) | st.lists(VISIBLE_AND_BLANKS) | VISIBLE_AND_BLANKS | st.integers()
       | st.booleans())
def test_a_value_is_one_value_of_yaml(value):
    assert yaml.safe_load(render.manifest({"a": [value], "b": 1})) == {"a": [value], "b": 1}


HOSTILE = ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "a: b", "- x", "{a: b}", "#",
           "*x", "!!python/x",
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
    assert words[:2] == ["load",
                         value] and f"/out/{value}/plan.json" in words and not list(tmp_path.iterdir()), done.stderr


def job_lines() -> list[str]:
    plan = made("slurm", slurm=SLURM.__class__(partition="p", account="a", modules=["m"]))
    return CLUSTERS["slurm"](plan).job_texts()["bilstm_crf-infer.sbatch"].splitlines()


@pytest.mark.parametrize("cluster", ["argo", "volcano"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_stay_names_in_yaml(cluster, value):
    site = KUBERNETES.__class__(namespace=value, data_claim=value, host_paths=[value], node_selector={value: value})
    plan = made(cluster, kubernetes=site)
    plan.variables["LOOP"] = value
    for name, text in CLUSTERS[cluster](plan).job_texts().items():
        manifest = yaml.safe_load(text)
        assert manifest["metadata"].get("namespace",
                                        value) == value if name != "kustomization.yaml" else manifest["resources"]
        if name == "plan.yaml":
            assert json.loads(manifest["data"]["plan.json"])["variables"]["LOOP"] == value
        for pod in pods_of(manifest):
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


def pods_of(manifest: dict) -> list[dict]:
    """Return the pods of a manifest as Kubernetes will see them; Argo puts each together from a template and the whole workflow."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Workflow":
        whole = {"securityContext": spec["securityContext"], "serviceAccountName": spec["serviceAccountName"]}
        return [{"metadata": each["metadata"],
                 "spec": whole | {"containers": [each["container"]], "volumes": each["volumes"],
                 **({"nodeSelector": each["nodeSelector"]} if "nodeSelector" in each else {}),
                                                                **json.loads(each["podSpecPatch"])}}
                for each in spec["templates"] if "container" in each]
    return [spec["tasks"][0]["template"]] if "tasks" in spec else []


def manifests_of(cluster: str, **options) -> list[dict]:
    return [yaml.safe_load(text) for name, text in CLUSTERS[cluster](made(cluster, **options)).job_texts().items()
            if name != "kustomization.yaml"]


def valid(manifest: dict, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


OWN = {cluster: json.loads((HERE / f"{cluster}.schema.json").read_text()) for cluster in ("argo", "volcano")}


def own_valid(manifest: dict) -> None:
    """Check what is a scheduler's own by the checked-in extract of its published definitions."""
    schema = OWN["argo"] if manifest["kind"] == "Workflow" else OWN["volcano"] | OWN["volcano"]["kinds"][manifest["kind"]]
    jsonschema.validate(manifest, schema)


@pytest.mark.parametrize("cluster", OWN)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [{}, {"max_npus": None, "kubernetes": KUBERNETES.__class__()}],
                         ids=["all", "little"])
def test_the_cluster_takes_the_manifests(cluster, version, options):
    """What is the scheduler's own by its own schema, ConfigMap and pods by Kubernetes'."""
    for manifest in manifests_of(cluster, **options):
        assert len(manifest["metadata"]["name"]) <= 63 and manifest["metadata"]["name"].replace("-", "").isalnum()
        valid(manifest, version) if manifest["kind"] == "ConfigMap" else own_valid(manifest)
        for pod in pods_of(manifest):
            valid({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **pod["metadata"]},
                   "spec": pod["spec"]}, version)


def test_a_wrong_pod_is_seen():
    pod = pods_of(manifests_of("argo")[1])[0]
    pod["spec"]["containers"][0]["arguments"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        valid({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod["spec"]}, VERSIONS[0])


@pytest.mark.parametrize("cluster, spoil", [
    ("volcano", lambda m: m["spec"]["policies"][0].update(event="PodGone")),
    ("volcano", lambda m: m["spec"]["policies"][1].update(event="PodFailed")),
    ("volcano", lambda m: m["spec"].update(minavailable=1)),
    ("volcano", lambda m: m["spec"]["tasks"][0].update(name="Task_1")),
    ("volcano", lambda m: m["spec"]["policies"][1].update(exitCode=0)),
    ("argo", lambda m: m["spec"].update(entryPoint="graph")),
    ("argo", lambda m: m["spec"]["templates"][0]["dag"].pop("tasks")),
    ("argo", lambda m: m["spec"]["templates"][0]["dag"]["tasks"][1].update(depends="a.Done")),
    ("argo", lambda m: m["spec"]["templates"][1]["retryStrategy"].update(retryPolicy="Sometimes")),
    ("argo", lambda m: m["spec"]["templates"][1].update(name="a_b")),
    ("argo", lambda m: m["spec"]["templates"][3]["synchronization"]["semaphores"][0]["configMapKeyRef"].pop("key"))])
def test_a_wrong_manifest_is_seen(cluster, spoil):
    manifest = yaml.safe_load(CLUSTERS[cluster](made(cluster)).job_texts()["workflow.yaml" if cluster == "argo"
                                                                           else "table.yaml"])
    own_valid(manifest)
    spoil(manifest)
    with pytest.raises(jsonschema.ValidationError):
        own_valid(manifest)


@pytest.mark.parametrize("cluster", OWN)
def test_the_pods_are_as_little_as_can_be(cluster):
    pods = [pod for manifest in manifests_of(cluster) for pod in pods_of(manifest)]
    assert len(pods) == len(made(cluster).tasks())
    for pod in pods:
        container, resources = pod["spec"]["containers"][0], pod["spec"]["containers"][0]["resources"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert resources["limits"] == resources["requests"]
        infers = "-infer-" in pod["metadata"]["labels"]["npukit/task"]
        assert ("huawei.com/Ascend310P" in resources["limits"]) == infers == ("nodeSelector" in pod["spec"])
        assert resources["limits"].get("huawei.com/Ascend310P", 1) == 1


# --- Argo Workflows -------------------------------------------------------------------------------------------------------------------


def workflow(**options) -> dict:
    return next(manifest for manifest in manifests_of("argo", **options) if manifest["kind"] == "Workflow")


def test_a_task_waits_for_success_and_the_table_for_the_end():
    graph, *templates = workflow()["spec"]["templates"]
    nodes = {node["name"]: node.get("depends") for node in graph["dag"]["tasks"]}
    assert graph["dag"]["failFast"] is False and list(nodes) == [template["name"] for template in templates]
    assert nodes["bilstm-crf-prepare"] is None and nodes["bilstm-crf-compile-bs1"] == "bilstm-crf-prepare.Succeeded"
    assert nodes["bilstm-crf-infer-bs32"] == "bilstm-crf-compile-bs32.Succeeded"
    ends = "({0}.Succeeded || {0}.Failed || {0}.Errored || {0}.Skipped || {0}.Omitted)"
    reports = ("bert-base-sst2-report-bs8", "bilstm-crf-report-bs1", "bilstm-crf-report-bs32")
    assert nodes["table"] == " && ".join(ends.format(report) for report in reports)


def test_max_npus_is_a_semaphore_that_inference_on_a_chip_alone_takes():
    made_of = {manifest["kind"]: manifest for manifest in manifests_of("argo", max_npus=2)}
    permit = {"semaphores": [{"configMapKeyRef": {"name": made_of["ConfigMap"]["metadata"]["name"],
                                                  "key": "max_npus"}}]}
    assert made_of["ConfigMap"]["data"]["max_npus"] == "2"
    for template in made_of["Workflow"]["spec"]["templates"]:
        assert template.get("synchronization") == (permit if "-infer-" in template["name"] else None)
    assert "synchronization" not in json.dumps(manifests_of("argo", max_npus=None))


def test_a_failure_of_the_infrastructure_alone_is_tried_again():
    for template in workflow(retries=5)["spec"]["templates"][1:]:
        assert template["retryStrategy"] == {"limit": 5, "retryPolicy": "Always", "expression": argo.AGAIN}
        assert template["activeDeadlineSeconds"] % 60 == 0
    assert set(re.findall(r"'(-?\d+)'", argo.AGAIN)) == {"-1", "75", "137", "143"}


def test_what_argo_would_replace_is_refused():
    with pytest.raises(UserError, match="Argo Workflows would replace"):
        workflow(kubernetes=KUBERNETES.__class__(out_claim="{{workflow.uid}}"))


def test_the_command_is_the_image_s_entrypoint():
    dockerfile = (HERE.parents[3] / "docker" / "Dockerfile").read_text()
    assert f"ENTRYPOINT {json.dumps(argo.ENTRYPOINT)}" in dockerfile
