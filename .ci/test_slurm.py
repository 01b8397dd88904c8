"""The cluster jobs on a real Slurm: order, devices, faults. `apt-get install slurm-wlm munge`, as root, for device nodes are made."""
import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm import Slurm
from toytree import Tree

ROOT = Path(__file__).parents[1]
SITE = """
grace = 30
retries = 3
cpus = {{ prepare = 1, compile = 1, infer = 1, report = 1 }}
memory_gib = {{ prepare = 1, compile = 1, infer = 1, report = 1 }}
minutes = {{ infer = {minutes} }}
[slurm]
partition = "{partition}"
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Submission:
    """A make submit in a checkout, and what became of it."""

    def __init__(self, slurm: Slurm, root: Path, *arguments: str, partition: str = "chips", minutes: int = 5,
                 **environment: str):
        self.slurm, self.root = slurm, root
        self.environment = {**os.environ, **slurm.environment, "MAKEFLAGS": "", **environment}
        self.environment.pop("PYTHONPATH", None)
        site = root / "site.toml"
        site.write_text(SITE.format(partition=partition, minutes=minutes))
        self.settings = [f"VENV={sys.prefix}", "CLUSTER=slurm", f"SITE={site}", *arguments]
        self.printed = self.make("submit")
        self.id = re.search(r"submitted to slurm as (\S+);", self.printed)[1]
        self.folder = Path(re.search(r"records are in (\S+)", self.printed)[1])
        self.settings.append(f"SUBMISSION={self.id}")

    def make(self, goal: str, fails: bool = False) -> str:
        done = subprocess.run(["make", *self.settings, goal], cwd=self.root, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def jobs(self) -> dict[str, str]:
        return dict(re.findall(r"^(\S+)  +(.+)$", self.make("jobs"), re.M))

    def queued(self) -> str:
        return self.slurm.ask("squeue", "--array", "--noheader", f"--jobs={','.join(self.ids().values())}", check=False)

    def ids(self) -> dict[str, str]:
        return json.loads((self.folder / "jobs.json").read_text())

    def end(self, seconds: float = 240) -> dict[str, str]:
        """Wait until nothing of it is in the queue; return what make jobs says."""
        self.slurm.wait(lambda: not self.queued().strip(), seconds)
        return self.jobs()

    def record(self, task: str) -> dict:
        path = self.folder / "tasks" / f"{task}.json"
        return json.loads(path.read_text()) if path.exists() else {"state": None, "attempts": []}

    def attempts(self, kind: str) -> list[dict]:
        records = [json.loads(path.read_text()) for path in self.folder.glob(f"tasks/*-{kind}-*.json")]
        return [attempt for record in records for attempt in record["attempts"]]


def never_two_on_one_device(submission: Submission) -> set[str]:
    """Check it on what the jobs wrote, and on Slurm's accounting; return the devices that were used."""
    used: dict[str, list[tuple[float, float]]] = {}
    for attempt in submission.attempts("infer"):
        used.setdefault(attempt["device"], []).append((attempt["started"], attempt["ended"]))
    for spans in used.values():
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(sorted(spans)))
    spans = []
    for job in submission.slurm.completed(f"npukit-{submission.id}-"):
        if "-infer" in job["Name"] and job["NodeList"] not in ("", "(null)"):
            spans += [(job["StartTime"], 1), (job["EndTime"], -1)]
    running = 0
    for _, change in sorted(spans):
        running += change
        assert running <= 2
    assert spans and set(used) <= {"0", "1"}
    return set(used)


def test_two_models_three_batch_sizes_two_devices(slurm, tmp_path):
    """The whole graph, with the real models."""
    models = ["bilstm_crf", "bert_base_sst2"]
    tree = planted(tmp_path)
    for name in (f"{above}/{model}" for above in ("models", "data/tiny") for model in models):
        shutil.copytree(ROOT / name, tree.path(name))
    made = Submission(slurm, tree.root, f"MODEL={' '.join(models)}", "BS=1 4 8", "MAX_NPUS=2", "LOOP=5", "ENGINE=none")
    seen = set()

    def ended() -> bool:
        seen.update(re.findall(r"GRES=npu:1\(IDX:(\d)\)",
                               slurm.ask("scontrol", "show", "job", "--details", check=False)))
        return not made.queued().strip()

    slurm.wait(ended, 600)
    told = made.jobs()
    assert len(told) == 21 and all(text.startswith("done") for text in told.values()), told
    assert never_two_on_one_device(made) == seen == {"0", "1"}
    for job in slurm.completed(f"npukit-{made.id}-"):
        assert job["JobState"] == "COMPLETED"
    table = made.make("collect")
    assert len(re.findall(r" pass$", table,
                          re.M)) == 6 and (made.folder / "results" / "bert_base_sst2-bs8.json").exists()
    order = {name: made.record(name)["attempts"][0] for name in told}
    for model in models:
        for n in (1, 4, 8):
            chain = [order[name] for name in (f"{model}-prepare",
                                              *(f"{model}-{kind}-bs{n}" for kind in ("compile", "infer", "report")))]
            assert all(before["ended"] <= after["started"] for before, after in itertools.pairwise(chain))
    assert "NPU minutes: 0." in made.make("plan") and "for 6 of 6 infer jobs" in made.make("plan")


def test_on_the_cpu_no_job_holds_an_npu(slurm, tmp_path):
    tree = planted(tmp_path, booking=False)
    made = Submission(slurm, tree.root, "MODEL=toy", "BS=1 2", "ENGINE=none")
    held = [slurm.ask("scontrol", "show", "job", job) for job in made.ids().values()]
    told = made.end()
    assert all(text.startswith("done") and "NPU" not in text for text in told.values()), told
    assert not re.search("gres|npu:", "".join(held), re.I), held


# --- Faults, on the toy: each ends with the report of an undisturbed run --------------------------------------------------------------


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> dict[str, dict]:
    tree = planted(tmp_path_factory.mktemp("undisturbed"))
    subprocess.run(["make", f"VENV={sys.prefix}", "MODEL=toy", "BS=1 2", "ENGINE=none", "all"], cwd=tree.root,
                   check=True,
                   stdout=subprocess.DEVNULL)
    return reports(tree)


def planted(place: Path, booking: bool = True) -> Tree:
    """Return a checkout of its own, whose infer jobs book an NPU on the CPU too: this Slurm has device nodes and no chip behind them."""
    tree = Tree(place / "checkout")
    tree.plant()
    if booking:
        tree.edit("common/npuops/cluster/plan.py", 'return variables["SOC"] != "cpu" and not variables["STANDIN"]',
                  "return True")
    return tree


def reports(tree: Tree) -> dict[str, dict]:
    """Return the toy's reports without times and places."""
    found = {}
    for path in sorted(tree.out.glob("toy/bs*/postprocess/report.json")):
        report = json.loads(path.read_text())
        for name in ("performance", "provenance"):
            report.pop(name)
        found[path.parts[-3]] = report
    return found


def lingering(tree: Tree) -> None:
    """Have infer stand still the first time that it runs with a batch size, until somebody ends it."""
    tree.edit("models/toy/infer.sh", "set -euo pipefail\n",
              'set -euo pipefail\nif mkdir "$OUT_LINGER/$4"; then touch "$OUT_LINGER/$4/now"; sleep 600; fi\n')


@pytest.fixture
def hanging(slurm, tmp_path):
    """Return a function that submits the toy and waits until its infer jobs stand still."""

    def submit(**options):
        tree = planted(tmp_path)
        lingering(tree)
        (tmp_path / "linger").mkdir()
        made = Submission(slurm, tree.root, "MODEL=toy", "BS=1 2", "ENGINE=none", OUT_LINGER=str(tmp_path / "linger"),
                          **options)
        slurm.wait(lambda: len(list(tmp_path.glob("linger/*/now"))) == 2, 40)
        return tree, made

    yield submit
    slurm.ask("scancel", "--user=root", check=False)  # a failed test's jobs would hold the devices


def signal_the_steps(slurm, made):
    for n in (1, 2):
        slurm.ask("scancel", "--signal=TERM", f"{made.ids()['toy-infer']}_{n}")


def kill_the_steps(slurm, made):
    for attempt in made.attempts("infer"):
        number = re.search(r"JobId=(\d+)", slurm.ask("scontrol", "show", "job", attempt["job"]))[1]
        for line in slurm.ask("scontrol", "listpids", f"{number}.0").splitlines()[1:]:
            pid = int(line.split()[0])
            if pid > 0:
                with contextlib.suppress(ProcessLookupError):  # what started it has taken it along
                    os.kill(pid, 9)


def set_the_node_down_and_back(slurm, made):
    slurm.ask("scontrol", "update", f"NodeName={slurm.host}", "State=DOWN", "Reason=test")
    time.sleep(3)
    slurm.ask("scontrol", "update", f"NodeName={slurm.host}", "State=RESUME",
              check=False)  # it may have come back by itself


def wait_for_the_limit(slurm, made):
    slurm.wait(lambda: all(len(made.record(f"toy-infer-bs{n}")["attempts"]) > 1 for n in (1, 2)), 200)


@pytest.mark.parametrize("fault, said", [
    (signal_the_steps, "ended by SIGTERM"), (kill_the_steps, "its step ended with 137"),
    (set_the_node_down_and_back, ""),
    (wait_for_the_limit, "ended by SIGTERM")])
def test_a_disturbed_run_ends_as_an_undisturbed_one(slurm, hanging, undisturbed, fault, said):
    tree, made = hanging(minutes=1 if fault is wait_for_the_limit else 5, partition="alone")
    fault(slurm, made)
    told = made.end()
    assert all(text.startswith("done") for text in told.values()), told
    assert reports(tree) == undisturbed
    never_two_on_one_device(made)
    for n in (1, 2):
        first, second = made.record(f"toy-infer-bs{n}")["attempts"]
        assert (first["state"], second["state"]) == ("interrupted", "done") and said in first["reason"]
        assert len(made.record(f"toy-compile-bs{n}")["attempts"]) == 1, "what was done is kept"


def test_the_user_s_mistake_stops_what_comes_after(slurm, tmp_path):
    tree = planted(tmp_path)
    tree.edit("models/toy/preprocess.py", '    toy.linger("preprocess")\n',
              "    from npukit.errors import UserError; raise UserError('line 3 is short')\n")
    made = Submission(slurm, tree.root, "MODEL=toy toy2", "BS=1 2", "ENGINE=none")
    told = made.end()
    assert told["toy-prepare"] == "failed (2): preprocess.py: line 3 is short"
    for kind in ("compile", "infer", "report"):
        assert told[f"toy-{kind}-bs2"] == "not run: toy-prepare failed (2): preprocess.py: line 3 is short"
        assert told[f"toy2-{kind}-bs2"].startswith("done"), "the other model goes on"
    assert len(made.record("toy-prepare")["attempts"]) == 1
    assert "toy-report-bs1 has no report" in made.make("collect", fails=True) and told["table"].startswith("failed (1)")


def test_a_broken_device_is_tried_elsewhere_and_not_for_ever(slurm, tmp_path):
    tree = planted(tmp_path)
    tree.edit("models/toy/infer.sh", "set -euo pipefail\n",
              "set -euo pipefail\necho 'acl open device 0 failed'; exit 255\n")
    made = Submission(slurm, tree.root, "MODEL=toy", "BS=1", "ENGINE=none")
    excluded = set()

    def asked_for_another_node() -> bool:
        excluded.update(re.findall(r"ExcNodeList=(\w+)", slurm.ask("scontrol", "show", "job", check=False)))
        return slurm.host in excluded

    slurm.wait(asked_for_another_node, 60)
    assert "after 1 interrupted: npukit: the device or its driver failed" in made.jobs()["toy-infer-bs1"]
    made.make("cancel")
    made.end()
    alone = Submission(slurm, tree.root, "MODEL=toy", "BS=1", "ENGINE=none", partition="alone")
    told = alone.end()
    assert re.match(r"failed \(1\): .*the device or its driver failed.*; given up after 4 attempts, attempt 4",
                    told["toy-infer-bs1"])
    assert told["toy-report-bs1"].startswith("not run: toy-infer-bs1 failed (1)")


def test_cancel_ends_this_submission_and_no_other(slurm, hanging, tmp_path):
    _, made = hanging()
    other = slurm.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60").strip()
    made.make("cancel")
    told = made.end(60)
    assert {told[f"toy-{kind}-bs{n}"] for kind in ("infer", "report") for n in (1, 2)} == {"cancelled"}
    assert told["toy-compile-bs1"].startswith("done")
    assert "RUNNING" in slurm.ask("squeue", "--noheader", f"--jobs={other}", "--format=%T")
    slurm.ask("scancel", other)


def test_two_hundred_jobs_are_submitted_in_seconds(slurm, tmp_path):
    tree = planted(tmp_path)
    sizes = " ".join(map(str, range(1, 34)))
    for model in ("toy", "toy2"):
        tree.edit(f"models/{model}/Makefile", "BATCHES = 1 2 4", f"BATCHES = {sizes}")
    slurm.ask("scontrol", "update", "PartitionName=chips", "State=DOWN")
    try:
        began = time.monotonic()
        made = Submission(slurm, tree.root, "MODEL=toy toy2", "BS=all", "MAX_NPUS=2")
        spent = time.monotonic() - began
        assert "201 jobs submitted" in made.printed and spent < 10
        assert len(made.queued().splitlines()) == 201
        assert all(text.startswith("waiting") for text in made.jobs().values())
        made.make("cancel")
        assert set(made.end(60).values()) == {"cancelled"}
    finally:
        slurm.ask("scontrol", "update", "PartitionName=chips", "State=UP")


def test_the_same_twice_at_once_is_harmless(slurm, tmp_path, undisturbed):
    tree = planted(tmp_path)
    both = [Submission(slurm, tree.root, "MODEL=toy", "BS=1 2", "ENGINE=none") for _ in range(2)]
    for made in both:
        told = made.end()
        assert all(text.startswith("done") for text in told.values()), told
    assert reports(tree) == undisturbed and not list(tree.out.rglob(".*.new"))


def test_this_slurm_passes_the_checklist(slurm):
    line = ["make", f"PYTHON3={sys.executable}", "CLUSTER=slurm", "SITE=", "SOC=Ascend310P3", "doctor"]
    done = subprocess.run(line, cwd=ROOT, env={**os.environ, **slurm.environment}, text=True, stdout=subprocess.PIPE)
    assert done.returncode == 0 and "ok     nodes offer npu" in done.stdout, done.stdout


NAMES = ["a'b", 'a"b', "a#b", "$(touch pwned)", "`touch pwned`", "a b; touch pwned", "%j", "--wrap=touch pwned", "ü"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_word_to_slurm(slurm, tmp_path, name):
    """Through a line of #SBATCH and through the shell, as render.py quotes for both."""
    from npuops.cluster.render import words

    script = tmp_path / "job.sbatch"
    script.write_text(f"#!/bin/bash\n#SBATCH --comment={words(name)}\n#SBATCH --output={words(str(tmp_path / 'out'))}\n"
                      f"printf %s {words(name)} >{words(str(tmp_path / 'said'))}\n")
    job = slurm.ask("sbatch", "--parsable", f"--chdir={tmp_path}", str(script)).strip()
    assert f"Comment={name} \n" in slurm.ask("scontrol", "show", "job", job)
    slurm.wait(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text() == name)
    assert not (tmp_path / "pwned").exists()
