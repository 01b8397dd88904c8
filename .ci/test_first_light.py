"""First light from end to end on the second personality of the stand-in: the tarball names each planted difference and nothing else,
tells nothing of the site, and comes home as recorded cases that are replayed and costs that choose gears.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "common/standin/tests"))
from personality import PLANTED, plant  # noqa: E402

MODELS = ("bert_base_sst2", "bilstm_crf")
SITE = {"USER": "zelda", "LOGNAME": "zelda", "HOSTNAME": "npu-node-17"}
PID = 3_141_592  # looked for as a number of its own, for a longer one may hold its digits
SECRETS = [*SITE.values(), "10.20.30.40", "02:42:ac:11:00:02", "someone@example.org", "/home/rival", "secret_server"]
EARLIER = f"""npu-node-17 (10.20.30.40, 02:42:ac:11:00:02): zelda, someone@example.org, /home/rival/x
| 0       1                     | {PID}         | secret_server            | 883                       |
"""
PROCESSES = [{"id": 0, "chip": 0},
             {"id": 0, "chip": 1, "processes": [{"pid": PID, "name": "secret_server", "memory": 883}]}]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what git tracks or would track."""
    place = tmp_path_factory.mktemp("site") / "zelda-checkout"
    tracked = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(tracked, capture_output=True, check=True).stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    return place


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the copy's front door as zelda."""
    (checkout.parent / "home/zelda").mkdir(parents=True, exist_ok=True)
    (checkout.parent / "chips.json").write_text(json.dumps(PROCESSES))
    environment = {**os.environ, **SITE, "HOME": str(checkout.parent / "home/zelda"), "VENV": sys.prefix,
                   "MAKEFLAGS": "", "LOOP": "3",
                   "NPUKIT_STANDIN_NPU_SMI": str(checkout.parent / "chips.json")}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["make", "ENGINE=none", "STANDIN=1", *arguments], cwd=checkout, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def light(checkout) -> tuple[Path, str]:
    """The tarball that first light leaves on the second personality, and what it printed."""
    plant(checkout / "common/standin")
    logs = checkout / "out/Ascend310P3-standin/first-light/logs"
    logs.mkdir(parents=True)
    (logs / "an-earlier-call.txt").write_text(EARLIER)
    done = make(checkout, "SOC=auto", f"MODEL={' '.join(MODELS)}", "PROFILE=tiny", "BS=1 4", "first-light")
    path = checkout / "out/Ascend310P3-standin/first-light-Ascend310P3-standin.tar.gz"
    assert path.exists(), done.stdout
    return path, done.stdout


@pytest.fixture(scope="module")
def members(light) -> dict[str, str]:
    with tarfile.open(light[0]) as tar:
        return {entry.name.partition("/")[2]: tar.extractfile(entry).read().decode() for entry in tar}


def test_each_planted_difference_is_named_and_nothing_else(members):
    seen = json.loads(members["facts.json"])["observations"]
    found = {(line["fact"], line["class"]) for line in seen if not line["same"]}
    assert found == {(fact, planted.kind) for planted in PLANTED.values() for fact in planted.facts}
    for fact, _ in found:
        assert re.search(rf"^  {re.escape(fact)}: .*\n    case .*\n    command +\S", members["report.md"], re.M), fact


def test_no_member_tells_who_or_where(light, members):
    for name, text in members.items():
        assert not [secret for secret in (*SECRETS, str(light[0].parents[2])) if secret in name + text], name
        assert not re.search(rf"(?<!\d)(?<!\d\.){PID}(?!\d)", name + text), name
    listed = [line.split()[1] for line in members["CONTENTS.txt"].splitlines()[2:]]
    assert sorted([*listed, "CONTENTS.txt"]) == sorted(members)
    assert "logs/an-earlier-call.txt" in members


def test_every_model_was_run_at_two_batch_sizes_and_in_gears(light, members):
    expected = {f"reports/{model}-tiny-bs{n}.json" for model in MODELS for n in (1, 4)}
    expected |= {f"reports/bert_base_sst2-tiny-bs{n}-gears.json" for n in (1, 4)}
    assert expected == {name for name in members if name.startswith("reports/")}, light[1]
    costs = json.loads(members["facts.json"])["costs"]
    assert costs.keys() == set(MODELS) and all(len(costs["bert_base_sst2"][n]) > 2 for n in ("1", "4"))


def test_the_report_is_short_and_whole(members):
    headings = re.findall(r"^## (.*)$", members["report.md"], re.M)
    assert len(headings) == 10 and len(members["report.md"].split()) < 2500
    assert "nothing here is a chip's" in members["report.md"]


def test_a_second_call_runs_nothing_that_is_done(checkout, light):
    done = make(checkout, "SOC=auto", f"MODEL={' '.join(MODELS)}", "PROFILE=tiny", "BS=1 4", "first-light")
    assert set(re.findall(r"^ *[\d.]+ s  (.*?)(?::.*)?$", done.stdout, re.M)) <= {"doctor"}, done.stdout


def test_the_facts_come_home_and_are_replayed(checkout, light):
    """On the stand-in as it is: what the other one showed is known, cases that it is wrong about are expected to fail."""
    shutil.rmtree(checkout / "common/standin")
    shutil.copytree(ROOT / "common/standin", checkout / "common/standin", ignore=shutil.ignore_patterns("__pycache__"))
    done = make(checkout, f"FROM={light[0]}", "facts")
    assert done.returncode == 0 and "common/standin/facts/Ascend310P3-standin-standin.json" in done.stdout, done.stdout
    done = make(checkout, "SOC=Ascend310P3", "CASES=not device", "conformance")
    wrong = [planted for planted in PLANTED.values() if planted.kind == "the stand-in is wrong"]
    without_device = [planted for planted in wrong if next(iter(planted.facts)).startswith("atc.")]
    assert done.returncode == 0 and f"{len(without_device)} xfailed" in done.stdout, done.stdout


def test_the_costs_choose_the_gears(checkout):
    """A table by which everything up to the longest costs the same leaves one gear; one that was measured is taken as it is."""
    measured = checkout / "models/bert_base_sst2/costs/Ascend310P3-standin.json"
    chosen = {}
    for name, cost in (("measured", json.loads(measured.read_text())), ("flat", {"1": {"1": 1.0, "512": 1.0}}),
                       ("tokens", None)):
        if cost:
            (measured.parent / "Ascend310P3.json").write_text(json.dumps(cost))
        else:
            (measured.parent / "Ascend310P3.json").unlink()
        done = make(checkout, "SOC=Ascend310P3", "MODEL=bert_base_sst2", "SEQ_LENS=auto", "preprocess")
        assert done.returncode == 0, done.stdout
        chosen[name] = (checkout / "out/Ascend310P3-standin/tiny/bert_base_sst2/inputs/seq_lens.txt").read_text().split()
    assert len(chosen["flat"]) == 1 < len(chosen["tokens"]) and chosen["measured"][-1] == chosen["tokens"][-1]
