"""Submitting and following, with stubs of the schedulers' commands; .ci/test_slurm.py does it with a real Slurm."""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from plans import KUBERNETES, made
from scripts import environment

from npukit.errors import UserError
from npuops.cluster import checks, kubectl, main, plan, records
from npuops.cluster.argo import Argo
from npuops.cluster.volcano import Volcano

ROOT = Path(__file__).parents[4]


def make(goal, *arguments, **more):
    """Run the front door; return its exit code and what it printed."""
    settings = [f"VENV={sys.prefix}", "MODEL=bilstm_crf", *arguments]
    done = subprocess.run(["make", *settings, goal], cwd=ROOT, env=environment(MAKEFLAGS="", **more), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return a function that puts a stub of a command first on PATH; it keeps its words in <name>.asked."""
    place = tmp_path / "tools"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")

    def plant(name, script="true"):
        path = place / name
        path.write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/{name}.asked\n{script}\n')
        path.chmod(0o755)
        return tmp_path / f"{name}.asked"

    plant("python3", f'exec {sys.executable} "$@"')
    return plant


# --- The front door -------------------------------------------------------------------------------------------------------------------


def test_a_plan_writes_nothing_and_runs_nothing(tmp_path):
    code, printed = make("plan", "CLUSTER=slurm", "BS=1 8", "SOC=Ascend310P3", "MAX_NPUS=1", f"OUT_ROOT={tmp_path}/out",
                         "LOOP=7", "SITE=")
    assert code == 0 and not (tmp_path / "out").exists()
    assert "8 jobs on slurm: PROFILE=tiny SOC=Ascend310P3 LOOP=7; at most 1 NPUs at a time" in printed
    assert "sbatch --dependency=aftercorr:<bilstm_crf-compile> bilstm_crf-infer.sbatch" in printed and "#SBATCH --array=1,8%1" in printed


def test_a_plan_says_what_the_chip_may_fuse(tmp_path):
    code, printed = make("plan", "CLUSTER=slurm", "MODEL=bilstm_crf bert_base_sst2", "BS=1 8",
                         f"OUT_ROOT={tmp_path}/out", "SITE=",
                         "SOC=Ascend310P3", "SEQ_LENS=auto")
    assert code == 0 and "which no chip has confirmed" in printed and not (tmp_path / "out").exists()
    for size in (1, 8):
        assert f"bert_base_sst2, batch size {size}, auto, of the multiples of 32 up to 512: AttentionScore at none (4 heads of 8" in printed
    assert "bilstm_crf, batch size" not in printed


@pytest.mark.parametrize("given, said", [
    ("CLUSTER=", "CLUSTER=''; it is one of slurm, argo, volcano"),
    ("CLUSTER=kubernetes", "say which engine keeps it there: CLUSTER=argo or CLUSTER=volcano"),
    ("MAX_NPUS=0", "MAX_NPUS='0'; it is a whole number from 1"),
    ("MAX_NPUS=many", "MAX_NPUS='many'; it is a whole number"),
    ("MAX_NPUS=2", "MAX_NPUS=2 bounds nothing: the stand-in, which SOC=cpu and STANDIN=1 mean, asks for no NPU"),
    ("PROFILE=huge", "bilstm_crf has no profile 'huge'; it has: tiny"),
    ("SITE=/no/such", "/no/such: No such file"), ("BS=3", "bilstm_crf has no batch size 3; it has: 1 4"),
    ("PROFILE='; touch pwned; '", "has no profile ''; touch pwned; ''"),
    ("SITE=$$(touch pwned)", "$(touch pwned): No such file"),
    ("LOOP=a\\b", "LOOP = 'a\\\\b' has a backslash")])
def test_an_impossible_request_is_answered(given, said):
    code, printed = make("plan", "CLUSTER=slurm", "SITE=", given)
    assert code == 2 and said in printed and "Traceback" not in printed and not (ROOT / "pwned").exists()


@pytest.mark.parametrize("cluster, missing", [
    ("slurm", "sbatch, squeue, scontrol, scancel are missing"), ("argo", "kubectl is missing"),
    ("volcano", "kubectl is missing")])
def test_submit_without_a_scheduler_says_what_is_missing(cluster, missing, tool, tmp_path):
    (tmp_path / "site.toml").write_text('image = "registry.example.org/x:1"\n')
    place = tmp_path / "bin"  # of this machine's commands those that the front door needs
    place.mkdir()
    for name in ("bash", "make", "sed", "id"):
        (place / name).symlink_to(shutil.which(name))
    (place / "python3").symlink_to(sys.executable)
    code, printed = make("submit", f"CLUSTER={cluster}", f"SITE={tmp_path}/site.toml", f"OUT_ROOT={tmp_path}/out",
                         PATH=str(place))
    assert code == 2 and f"{missing} on this machine; make submit CLUSTER={cluster} runs where" in printed
    assert "make plan needs none" in printed and not (tmp_path / "out").exists()


@pytest.mark.parametrize("goal", ["jobs", "collect", "cancel"])
def test_without_a_submission_it_says_so(goal, tmp_path):
    code, printed = make(goal, f"OUT_ROOT={tmp_path}")
    assert code == 2 and f"there is no submission in {tmp_path}/jobs; make submit makes one" in printed


def test_a_refused_submission_leaves_nothing(tool, tmp_path):
    for name in ("squeue", "scontrol"):
        tool(name)
    tool("sbatch", '[[ $* == *prepare* ]] && echo 41 || { echo "sbatch: error: Invalid qos" >&2; exit 1; }')
    cancelled = tool("scancel")
    code, printed = make("submit", "CLUSTER=slurm", "SITE=", f"OUT_ROOT={tmp_path}/out",
                         PATH=f"{tmp_path}/tools:/usr/bin:/bin")
    assert code == 2 and "Slurm refuses bilstm_crf-compile: sbatch: error: Invalid qos; nothing of this submission is left" in printed
    assert cancelled.read_text() == "41\n" and not list((tmp_path / "out" / "jobs").iterdir())


# --- What make jobs says --------------------------------------------------------------------------------------------------------------


class Silent(Argo):
    """A scheduler that knows what it is told here."""

    live: ClassVar[dict] = {}

    def states(self):
        return self.live

    def fetch(self):
        pass


def record(asked, name, state, code=None, reason=""):
    task = next(task for task in asked.tasks() if task.name == name)
    records.end(asked, records.begin(asked, task, "1", "0" if "-infer-" in name else None), state, code, reason)


def test_the_reason_is_told_to_all_that_wait(tmp_path, monkeypatch):
    monkeypatch.setitem(main.CLUSTERS, "slurm", Silent)
    asked = made("slurm", tmp_path, batch_sizes={"a": [1], "b": [1]}, max_npus=None)
    (tmp_path / "tasks").mkdir()
    record(asked, "a-prepare", "failed", 2, "preprocess.py: line 3 is short")
    record(asked, "b-prepare", "done", 0)
    record(asked, "b-compile-bs1", "done", 0)
    record(asked, "b-infer-bs1", "interrupted", 75, "ended by SIGTERM")
    Silent.live = {"b-infer-bs1": "waiting: BeginTime", "b-report-bs1": "waiting: Dependency",
                   "table": "waiting: Dependency"}
    told = main.summary(asked)
    assert told["a-prepare"] == "failed (2): preprocess.py: line 3 is short"
    assert told["a-compile-bs1"] == told["a-report-bs1"] == "not run: a-prepare failed (2): preprocess.py: line 3 is short"
    assert re.fullmatch(r"done, 0 s on \S+", told["b-prepare"])
    assert told["b-infer-bs1"] == "waiting: BeginTime, after 1 interrupted: ended by SIGTERM"
    assert (told["b-report-bs1"], told["table"]) == ("waiting: Dependency", "waiting: Dependency")
    Silent.live = {}
    assert main.summary(asked)["b-infer-bs1"] == "ended by the scheduler without a word, after 1 interrupted: ended by SIGTERM"
    records.cancelled(asked).touch()
    assert main.summary(asked)["b-infer-bs1"] == main.summary(asked)["b-report-bs1"] == "cancelled"


# --- Argo Workflows, Volcano ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path):
    asked = made("argo", tmp_path, batch_sizes={"a": [1, 4], "b": [1]}, max_npus=1)
    (tmp_path / "tasks").mkdir()
    return asked


def test_the_record_is_the_last_message(cluster, tmp_path, monkeypatch):
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(kubectl, "MESSAGE", message)
    record(cluster, "a-prepare", "done", 0)
    Argo(cluster).finish(next(task for task in cluster.tasks() if task.name == "a-prepare"))
    assert json.loads(message.read_text())["state"] == "done"


def test_records_and_reports_come_back_without_the_volumes(tool, cluster, tmp_path):
    report = {"model": "a", "batch_size": 1}
    said = {"state": "failed", "code": 2, "reason": "line 3 is short"}
    word = {"task": "a-prepare", **said, "attempts": [said | {"host": "p1", "device": None, "started": 1, "ended": 2}]}

    def pod(name, task, status):
        return {"metadata": {"name": name, "creationTimestamp": name, "labels": {"npukit/task": task}},
                "spec": {"nodeName": "n1"}, "status": status}

    ended = {"state": {"terminated": {"message": json.dumps(word)}}}
    pending = {"status": "False", "message": "0/3 nodes are available"}
    known = [pod("p1", "a-prepare", {"phase": "Failed", "containerStatuses": [ended]}),
            pod("p2", "b-infer-bs1", {"phase": "Running"}),
            pod("p3", "b-compile-bs1", {"phase": "Pending", "conditions": [pending]}),
            pod("p4", "table", {"phase": "Succeeded"})]
    (tmp_path / "pods.json").write_text(json.dumps({"items": known}))
    (tmp_path / "log").write_text(f"a table\nnpukit-report {json.dumps(report)}\n")
    asked = tool("kubectl", f"case $1 in get) cat {tmp_path}/pods.json;; logs) cat {tmp_path}/log;; esac")
    cluster.variables["OUT_ROOT"] = str(tmp_path / "out")
    Argo(cluster).fetch()
    told = main.summary(cluster)
    assert told["a-compile-bs4"] == "not run: a-prepare failed (2): line 3 is short" and told["b-infer-bs1"] == "running on n1"
    assert told["b-compile-bs1"] == "waiting: 0/3 nodes are available" and told["b-report-bs1"] == "waiting: for its turn"
    assert json.loads(plan.report_file(cluster, "a", 1).read_text()) == report
    label = "npukit/submission=20260102-030405-abcdef"
    Argo(cluster).cancel()
    assert asked.read_text().splitlines()[-1] == f"delete --namespace=nlp workflows.argoproj.io,configmaps --selector={label} --wait=false"
    Volcano(cluster).cancel()
    kinds = "jobflows.flow.volcano.sh,jobtemplates.flow.volcano.sh,queues.scheduling.volcano.sh,configmaps"
    assert asked.read_text().splitlines()[-1] == f"delete --namespace=nlp {kinds} --selector={label} --wait=false"


def test_a_cluster_that_does_not_answer_is_one_sentence(tool, tmp_path):
    said = "E1124 memcache.go:265] couldn't get current server API group list: connection refused\n" * 3
    asked = tool("kubectl", f'echo "{said}" >&2; exit 1')
    (tmp_path / "site.toml").write_text('image = "registry.example.org/x:1"\n')
    code, printed = make("submit", "CLUSTER=argo", f"SITE={tmp_path}/site.toml", f"OUT_ROOT={tmp_path}/out",
                         PATH=f"{tmp_path}/tools:/usr/bin:/bin")
    assert code == 2 and "the cluster does not answer; is there a context" in printed and "memcache" not in printed
    assert asked.read_text().splitlines() == ["version --namespace=default --output=json"]
    assert not list((tmp_path / "out" / "jobs").iterdir())


@pytest.mark.parametrize("verb", ["jobs", "collect", "cancel"])
def test_what_asks_a_cluster_that_is_gone_is_one_sentence(verb, tool, cluster, tmp_path):
    tool("kubectl",
         "echo 'E1124 memcache.go:265] connection refused' >&2; echo 'The connection was refused' >&2; exit 1")
    asked = plan.Plan(**{**vars(cluster), "folder": str(tmp_path / "out" / "jobs" / cluster.id)})
    for name in ("tasks", "logs"):
        (Path(asked.folder) / name).mkdir(parents=True)
    (Path(asked.folder) / "plan.json").write_text(plan.dumped(asked))
    code, printed = make(verb, f"OUT_ROOT={tmp_path}/out", PATH=f"{tmp_path}/tools:/usr/bin:/bin")
    assert code == 2 and "the cluster does not answer; is there a context" in printed
    assert "memcache" not in printed and "refused" not in printed and "Traceback" not in printed


@pytest.mark.parametrize("cluster", ["argo", "volcano"])
def test_pods_without_an_image_are_answered(cluster):
    with pytest.raises(UserError, match=f"the site's profile names no image; CLUSTER={cluster} needs"):
        main.CLUSTERS[cluster](plan.Plan(**{**vars(made(cluster)), "site": main.site.Site()})).job_texts()


def test_kustomize_takes_the_folder(tmp_path):
    if not has("kubectl"):
        pytest.skip("there is no kubectl here")
    for name, text in Volcano(made("volcano")).job_texts().items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("kind: JobTemplate") == 12, done.stderr


def has(program):
    return subprocess.run(["bash", "-c", f"command -v {program}"], capture_output=True).returncode == 0


# --- The checklist --------------------------------------------------------------------------------------------------------------------


def wrong(cluster, chip=True):
    site = main.site.Site(kubernetes=KUBERNETES, image="x")
    return {name: mend for name, ok, mend in checks.rows(cluster, site, chip) if not ok}


def test_without_its_commands_a_scheduler_cannot_be_checked(tool):
    assert "sbatch is on PATH" in wrong("slurm") or has("sbatch")
    assert "kubectl is on PATH" in wrong("volcano") or has("kubectl")


CONFIG = "GresTypes = {gres}\\nJobRequeue = {requeue}\\nKillWait = 30 sec\\n"


@pytest.mark.parametrize("config, offered, faults", [
    ((("npu"), 1), "npu:8(S:0)", set()), ((("gpu"), 1), "gpu:8", {"GresTypes has npu", "nodes offer npu"}),
    ((("npu,gpu"), 0), "npu:8", {"jobs may be queued again"}), ((("npu"), 1), "(null)", {"nodes offer npu"})])
def test_a_slurm_is_checked(tool, config, offered, faults):
    for name in ("sbatch", "squeue", "scancel"):
        tool(name)
    tool("scontrol", f"printf '{CONFIG.format(gres=config[0], requeue=config[1])}'")
    tool("sinfo", f"[[ $* == *%a* ]] && echo up || echo '{offered}'")
    assert set(wrong("slurm")) == faults
    assert set(wrong("slurm", chip=False)) == faults - {"GresTypes has npu",
                                                        "nodes offer npu"}, "CPU jobs ask for no NPU"
    tool("scontrol", "exit 1")
    assert set(wrong("slurm")) == {"the cluster answers"}


def test_argo_and_volcano_are_checked(tool, tmp_path):
    node = {"metadata": {"labels": {"accelerator": "huawei-Ascend310P"}},
            "status": {"allocatable": {"huawei.com/Ascend310P": "4"}}}
    (tmp_path / "nodes").write_text(json.dumps({"items": [node]}))
    answers = {"version": 'echo \'{"serverVersion": {"minor": "35+"}}\'', "get nodes": f"cat {tmp_path}/nodes",
               "auth": "echo yes",
               "get serviceaccount": "echo npukit", "get persistentvolumeclaim": "echo '[\"ReadWriteMany\"]'",
               "api-resources": "printf '%s\\n' {jobs.batch,{jobflows,jobtemplates}.flow,queues.scheduling}.volcano.sh "
                                "workflows.argoproj.io",
               "get queues": "echo -n Open"}

    def answering(**changed):
        lines = [f'"{words}"*) {changed.get(words.replace(" ", "_").replace("-", "_"), answer)};;'
                 for words, answer in answers.items()]
        tool("kubectl", f'case "$*" in {" ".join(lines)} esac')

    answering()
    assert wrong("argo") == wrong("volcano") == {}
    answering(api_resources="true", auth="echo no")
    assert set(wrong("argo")) == {"workflows.argoproj.io is known", "you may create workflows.argoproj.io",
                                  "you may create configmaps"}
    answering(version="exit 1")
    assert set(wrong("argo")) == set(wrong("volcano")) == {"the cluster answers"}
    answering(get_nodes="echo '{\"items\": []}'", get_queues="echo -n Closed",
              get_persistentvolumeclaim="echo '[\"ReadWriteOnce\"]'")
    assert set(wrong("volcano")) == {"a node offers huawei.com/Ascend310P",
                                     "such a node has the labels {'accelerator': 'huawei-Ascend310P'}",
                                     "queue default is open", "volume npukit-out can be mounted by several nodes",
                                     "volume corpora can be mounted by several nodes"}
    assert set(wrong("argo", chip=False)) == {"volume npukit-out can be mounted by several nodes",
                                              "volume corpora can be mounted by several nodes"}
