"""The images on a real engine: built without a network, run by an ordinary user. `.ci/with-engine make test-images` starts one.

No image can be pulled where this runs: the base is made by mmdebstrap under the official one's name. The CANN base has CANN's
layout, a set_env.sh that breaks under `set -u`, and the stand-in in the place of the tools, which refuse to work without a
device node that they may open. The chips are nodes made for the test; root is needed for that.
"""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import suite as signals  # noqa: F401, they are not ignored

ROOT = Path(__file__).parents[1]
USER, GROUP, CHIPS = 12345, 12345, 23456  # a user with no account, and the group of the chips
BASE, CANN = "python:3.11-slim-bookworm", "quay.io/ascend/cann:9.0.1-310p-ubuntu22.04-py3.11"
TOOLS = """
FROM {base}
COPY --chown=0:0 . /
ENV ASCEND_TOOLKIT_HOME=/usr/local/Ascend/ascend-toolkit/latest
"""
SET_ENV = """
export LD_LIBRARY_PATH=/usr/local/Ascend/ascend-toolkit/latest/lib64:$LD_LIBRARY_PATH
export PYTHONPATH=/usr/local/Ascend/ascend-toolkit/latest/python/site-packages:$PYTHONPATH
export PATH=/usr/local/Ascend/ascend-toolkit/latest/bin:$PATH
[ -n "$ZSH_VERSION" ] && false
export ASCEND_OPP_PATH=/usr/local/Ascend/ascend-toolkit/latest/opp
"""
ATC = """#!/bin/bash
[[ $(command -v python3) != /opt/venv/* ]] || { echo 'atc was given the Python of the project'; exit 1; }
echo cann >"$HOME/atc_data" && echo {} >fusion_result.json || exit 1
exec /opt/venv/bin/python /npukit/common/standin/bin/atc "$@"
"""
NPU_SMI = """#!/bin/bash
for node in /dev/davinci[0-9]*; do [[ -r $node && -w $node ]] && exec python3 /npukit/common/standin/bin/npu-smi "$@"; done
echo 'dcmi module initialize failed. ret is -8005'; exit 1
"""


def run(*command: str, cwd: Path | None = None, user: bool = False, fails: bool = False, **environment: str) -> str:
    """Run a command, as the ordinary user who is in docker's group if told so; return what it prints."""
    docker = [os.stat(os.environ["DOCKER_HOST"].removeprefix("unix://")).st_gid]
    who = {"user": USER, "group": GROUP, "extra_groups": docker} if user else {}
    keep = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
    done = subprocess.run(command, cwd=cwd, env={**keep, "HOME": "/nonexistent", **environment}, text=True,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, **who)
    assert bool(done.returncode) == fails, done.stdout
    return done.stdout


def make(checkout: Path, *arguments: str, **options) -> str:
    return run("make", *arguments, cwd=checkout, **options)


@pytest.fixture(scope="session", autouse=True)
def chips():
    """Four nodes of chips, as the driver makes them: one group, 0660."""
    made = [Path(f"/dev/davinci{n}") for n in range(4)]
    for number, node in enumerate(made):
        node.unlink(missing_ok=True)
        os.mknod(node, stat.S_IFCHR | 0o660, os.makedev(236, number))
        os.chown(node, 0, CHIPS)
        node.chmod(0o660)
    yield made
    for node in made:
        node.unlink()


@pytest.fixture(scope="session")
def place():
    """A folder on a disk that the ordinary user may enter."""
    folder = Path(subprocess.check_output(["mktemp", "-d", "/var/tmp/npukit-images.XXXXXX"], text=True).strip())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def checkout(place) -> Path:
    """What git tracks, with its times, in a folder of the ordinary user's."""
    folder = place / "npukit"
    listed = subprocess.check_output(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others",
                                      "--exclude-standard"], text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run("chown", "-R", f"{USER}:{GROUP}", str(folder))
    return folder


@pytest.fixture(scope="session")
def base(place):
    """A small Python under the official image's name, where the engine does not have that: no make, no compiler."""
    if subprocess.run(["docker", "image", "inspect", BASE], capture_output=True).returncode == 0:
        return
    suite = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)[1]
    run("mmdebstrap", "--quiet", "--variant=essential", "--include=python3,python3-venv,libstdc++6", suite,
        str(place / "base.tar"))
    run("docker", "import", str(place / "base.tar"), BASE)


@pytest.fixture(scope="session")
def wheels(checkout) -> None:
    """The wheelhouse, and a checkout of ais_bench in the shape of the vendor's: the stand-in, which needs building."""
    source = checkout.parent / "ais_bench"
    setup = "from setuptools import setup\nsetup(name='{}', version='0.0.2', packages={}, package_data={{'standin.atc': ['*.txt']}})\n"
    (source / "backend").mkdir(parents=True)
    for name in ("ais_bench", "standin"):
        shutil.copytree(checkout / "common/standin" / name, source / name)
    shutil.copytree(checkout / "common/standin/aclruntime", source / "backend/aclruntime")
    (source / "setup.py").write_text(setup.format("ais_bench",
                                                  ["ais_bench", "ais_bench.infer", "standin", "standin.atc"]))
    (source / "backend/setup.py").write_text(setup.format("aclruntime", ["aclruntime"]))
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    print(make(checkout, f"PYTHON3={sys.executable}", "wheelhouse", **pip))


@pytest.fixture(scope="session")
def cpu(checkout, base, wheels) -> str:
    printed = make(checkout, "image", "COMMIT=0123abc", DOCKER_BUILDKIT="0")
    assert re.search(r"^npukit-cpu sha256:\w+ \d+ bytes$", printed, re.M)
    print(printed[-300:])
    return "npukit-cpu"


@pytest.fixture(scope="session")
def cann(checkout, cpu) -> str:
    """The cann image on a base of CANN's shape; without the OM runner it is not built and says so."""
    files = checkout.parent / "cann"
    home = "usr/local/Ascend/ascend-toolkit"
    for name, text, mode in [(f"{home}/set_env.sh", SET_ENV, 0o644), (f"{home}/latest/bin/atc", ATC, 0o755),
                             ("usr/local/bin/npu-smi", NPU_SMI, 0o755),
                             (f"{home}/latest/version.cfg", "toolkit_running_version=[9.0.1.0:9.0.1]\n", 0o644),
                             (f"{home}/latest/python/site-packages/acl.py", "", 0o644),
                             ("Dockerfile", TOOLS.format(base=BASE), 0o644)]:
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text)
        (files / name).chmod(mode)
    run("docker", "build", "-q", "-t", CANN, str(files), DOCKER_BUILDKIT="0")
    chip = ["SOC=Ascend310P3", "COMMIT=0123abc", "image"]
    assert "there is no ais_bench, the OM runner: give make wheelhouse AIS_BENCH=" in make(checkout, *chip, fails=True,
                                                                                           DOCKER_BUILDKIT="0")
    wheelhouse = next((checkout / "wheelhouse").iterdir())
    shutil.copytree(checkout.parent / "ais_bench", wheelhouse / "ais_bench")
    make(checkout, *chip, DOCKER_BUILDKIT="0")
    return "npukit-cann"


@pytest.fixture
def out(place) -> Path:
    """A fresh out/ of the ordinary user's."""
    folder = Path(subprocess.check_output(["mktemp", "-d", place / "out.XXXXXX"], text=True).strip())
    os.chown(folder, USER, GROUP)
    return folder


def by_hand(checkout: Path, out: Path, image: str, *flags: str) -> list[str]:
    """Return `docker run` as it is typed, for a chip that the flags give or do not give."""
    return ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", f"{USER}:{GROUP}",
            "-v", f"{checkout}/data:/npukit/data:ro", "-v", f"{out}:/npukit/out", *flags, image]


def placeless(report: Path) -> dict:
    """Return a report without times and places."""
    made = json.loads(report.read_text())
    made.pop("performance")
    for name in ("started", "seconds", "image", "host", "commands", "commit"):
        made["provenance"].pop(name)
    made["provenance"]["versions"].pop("python")
    made["provenance"]["inputs"].pop("om")  # it holds atc's command line, with its paths
    return made


def foreign(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if (path.lstat().st_uid, path.lstat().st_gid) != (USER, GROUP)]


def stages(printed: str) -> list[str]:
    """Return the stages that ran."""
    return re.findall(r"^ *[\d.]+ s  \S+/(\w+)$", printed, re.M)


# --- What the images are ---------------------------------------------------------------------------------------------


def test_labels_and_no_leftovers(cpu):
    labels = json.loads(run("docker", "image", "inspect", "--format", "{{ json .Config.Labels }}", cpu))
    assert labels["org.opencontainers.image.revision"] == "0123abc" and labels["org.opencontainers.image.base.name"] == BASE
    assert "torch==2." in labels["org.npukit.versions"] and "python 3.11" in labels["org.npukit.versions"]
    printed = run("docker", "run", "--rm", "--network", "none", cpu, "bash", "-c",
                  "id -u; command -v gcc cc g++; "
                  "ls -d /wheels /build ~root/.cache /npukit/data/* /npukit/wheelhouse /npukit/common/tests; true")
    assert printed.splitlines()[0] == "65534" and re.findall(r"^/\S+", printed, re.M) == ["/npukit/data/README.md",
                                                                                          "/npukit/data/tiny"]


def test_the_image_alone_says_what_it_can_do(cpu):
    """`docker run npukit-cpu`, the shortest line there is: make's help, with no tool that a small Python image lacks."""
    printed = run("docker", "run", "--rm", "--network", "none", cpu)
    assert "every stage of every model, then the table" in printed and "not found" not in printed


def test_an_edited_script_rebuilds_in_seconds(checkout, cpu):
    script = checkout / "models/bilstm_crf/postprocess.py"
    before, times = script.read_text(), script.stat()
    script.write_text(before + "\n")
    began = time.monotonic()
    try:
        make(checkout, "image", "IMAGE=npukit-edited", "COMMIT=0123abc", DOCKER_BUILDKIT="0")
    finally:
        script.write_text(before)
        os.utime(script, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert time.monotonic() - began < 60  # seconds on an idle machine
    run("docker", "rmi", "npukit-edited")


def test_the_saved_image_has_its_digest(checkout, cpu):
    make(checkout, "image-save")
    folder = checkout / "out/images"
    try:
        run("sha256sum", "--check", "npukit-cpu.tar.gz.sha256", cwd=folder)
        identity = run("docker", "image", "inspect", "--format", "{{ .Id }}", cpu).strip()
        assert f"image {identity}" in (folder / "npukit-cpu.tar.gz.digest").read_text()
    finally:
        shutil.rmtree(checkout / "out")


# --- Jobs, as an ordinary user ---------------------------------------------------------------------------------------


def test_the_line_of_the_readme_as_it_is_typed(checkout, cpu):
    text = (checkout / "docker/README.md").read_text()
    line = re.search(r"^```console\n(docker run .*?)^```", text, re.M | re.S)[1]
    assert "--device /dev/davinci0" in line and "SOC=Ascend310P3 MODEL=elmo BS=1 all" in line
    (checkout / "out").mkdir(exist_ok=True)
    os.chown(checkout / "out", USER, GROUP)
    printed = run("bash", "-euc", line.replace("npukit-cann", cpu).replace("SOC=Ascend310P3", "LOOP=5"), cwd=checkout,
                  user=True)
    assert re.search(r"^elmo .* pass$", printed, re.M) and not foreign(checkout / "out")
    shutil.rmtree(checkout / "out")


@pytest.mark.parametrize("model", ["bilstm_crf", "bert_base_sst2"])
def test_the_front_door_makes_the_hosts_report(checkout, cpu, out, model):
    """In the container and here: the same report but for times and places; then neither runs what the other has made."""
    asked = [f"MODEL={model}", "BS=1", "LOOP=5", "all"]
    host = [*asked, "ENGINE=none", f"VENV={sys.prefix}"]
    before = {path for path in checkout.rglob("*") if "out" not in path.parts and "__pycache__" not in path.parts}
    printed = make(checkout, f"OUT_ROOT={out}", *asked, user=True)
    assert "running in npukit-cpu with docker" in printed and re.search(rf"^{model} .* pass$", printed, re.M)
    assert not foreign(out) and before == {p for p in checkout.rglob("*") if "out" not in p.parts
                                           and "__pycache__" not in p.parts}
    assert not stages(make(checkout, f"OUT_ROOT={out}", *host)), "here it is up to date"
    make(checkout, *host)
    run("chown", "-R", f"{USER}:{GROUP}", str(checkout / "out"))
    assert not stages(make(checkout, *asked, user=True)), "there it is up to date"
    report = f"cpu/tiny/{model}/bs1/postprocess/report.json"
    assert placeless(out / report) == placeless(checkout / "out" / report)
    shutil.rmtree(checkout / "out")


def test_an_interrupted_run_resumes(checkout, cpu, out):
    command = [*by_hand(checkout, out, cpu, "--name", "npukit-interrupted"), "make", "MODEL=bilstm_crf", "LOOP=5",
               "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        end = time.monotonic() + 120
        while not list(out.glob("cpu/tiny/bilstm_crf/.pth2onnx.*.new/log.txt")):
            assert time.monotonic() < end and job.poll() is None
            time.sleep(0.1)
        began = time.monotonic()
        run("docker", "stop", "--time", "60", "npukit-interrupted")
        assert time.monotonic() - began < 30, "it was told to end and did"
        assert stages(job.stdout.read()) == ["inputs"] and job.wait() != 0
    printed = run(*command)
    assert stages(printed) == ["pth2onnx", "atc", "perf", "infer", "postprocess"] and " pass" in printed
    assert not [path for path in out.rglob("*") if path.name.endswith((".new", ".failed"))]


def test_an_interrupted_front_door_leaves_no_container(checkout, cpu, out):
    asked = ["make", "RUN_FLAGS=--name npukit-interrupted", f"OUT_ROOT={out}", "MODEL=bilstm_crf", "LOOP=5", "all"]
    containers = ["docker", "ps", "--all", "--quiet", "--filter", "name=npukit-interrupted"]
    environment = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST")}
    os.chown(out, 0, 0)  # root without capabilities writes only what is its own
    with subprocess.Popen(asked, cwd=checkout, env=environment, text=True, start_new_session=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as job:
        end = time.monotonic() + 120
        while not list(out.glob("cpu/tiny/bilstm_crf/.pth2onnx.*.new/log.txt")):
            assert time.monotonic() < end and job.poll() is None
            time.sleep(0.1)
        assert run(*containers)
        os.killpg(job.pid, signal.SIGINT)
        printed = job.stdout.read()
    assert job.returncode and "running in npukit-cpu with docker" in printed and not run(*containers), printed


def test_a_full_disk(checkout, cpu, out):
    command = by_hand(checkout, out, cpu, "--tmpfs", "/npukit/full:size=300k,mode=1777")
    printed = run(*command, "make", "MODEL=bilstm_crf", "OUT_ROOT=/npukit/full", "pth2onnx", fails=True)
    assert re.search(r"npukit: the disk of \S+ is full \(No space left on device\); free some space",
                     printed) and "Error 2" in printed
    assert "Traceback" not in printed.split("npukit: the disk")[1]


def test_first_light_in_a_container(checkout, cpu, out):
    """Where the chip's tools are only in the image: the same command, the same tarball."""
    asked = ["make", "SOC=auto", "STANDIN=1", "MODEL=bilstm_crf", "PROFILE=tiny", "BS=1 4", "LOOP=3", "first-light"]
    printed = run(*by_hand(checkout, out, cpu), *asked)
    assert "0 facts differ" in printed and "Steps not done: none" in printed, printed
    assert (out / "Ascend310P3-standin/first-light-Ascend310P3-standin.tar.gz").exists() and not foreign(out)


def test_podman_takes_the_same_job(checkout, cpu, out, place):
    """With a store of its own; where podman cannot start a container at all, there is nothing to test."""
    if shutil.which("podman") is None:
        pytest.skip("there is no podman")
    store = place / "podman"
    (place / "bin").mkdir()
    flags = f"--root {store}/root --runroot {store}/run --cgroup-manager cgroupfs --storage-driver overlay"
    (place / "bin/podman").write_text(f'#!/bin/bash\nexec {shutil.which("podman")} {flags} "$@"\n')
    (place / "bin/podman").chmod(0o755)
    path = {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    limits = "--ulimit nofile=1024:4096 --ulimit nproc=4096:4096"  # podman would raise them, which not every root may
    try:
        run("bash", "-c",
            f"docker save {BASE} | podman load --quiet && podman run --rm --network none {limits} {BASE} true", **path)
    except AssertionError as error:
        pytest.skip(f"podman starts no container here: {str(error)[-200:]}")
    run("bash", "-c", f"docker save {cpu} | podman load --quiet", **path)
    os.chown(out, 0, 0)  # root without capabilities writes only what is its own
    asked = [f"IMAGE=localhost/{cpu}", f"RUN_FLAGS={limits}", f"OUT_ROOT={out}", "MODEL=bilstm_crf", "LOOP=5", "all"]
    printed = make(checkout, "ENGINE=podman", *asked, **path)
    assert "running in localhost/npukit-cpu with podman" in printed and re.search(r"^bilstm_crf .* pass$", printed,
                                                                                  re.M)
    run("podman", "rmi", "--all", "--force", **path)


# --- With a chip -----------------------------------------------------------------------------------------------------


def test_one_chip_is_there_and_nothing_else(checkout, cann):
    """What `make -n` prints, with another command at its end."""
    printed = make(checkout, "-n", "SOC=Ascend310P3", "DEVICE=2", "infer", user=True)
    command = re.search(r"(docker run .*--device /dev/davinci2 .*) npukit-cann make ", printed)[1]
    script = """ls /dev/davinci*; test -r /dev/davinci2 && test -w /dev/davinci2 && echo opened; id -u
        for folder in / /npukit /npukit/data /opt/venv /usr/local; do touch $folder/x 2>/dev/null && echo wrote $folder; done
        echo x >/npukit/out/x && rm /npukit/out/x && echo x >$HOME/x && ls /sys/class/net; cat /proc/self/status | grep CapEff"""
    (checkout / "out").mkdir(exist_ok=True)
    os.chown(checkout / "out", USER, GROUP)
    printed = run(*command.split(), "npukit-cann", "bash", "-c", script, user=True)
    assert printed.split() == ["/dev/davinci2", "opened", str(USER), "lo", "CapEff:", "0" * 16]
    shutil.rmtree(checkout / "out")


def test_the_two_pythons_never_meet(cann):
    printed = run("docker", "run", "--rm", "--network", "none", "--tmpfs", "/tmp", cann, "bash", "-c",
                  """command -v python3 atc; echo "$PYTHONPATH"
$VENV/bin/python -c 'import acl, aclruntime, ais_bench, google.protobuf as p; print(ais_bench.__file__, p.__file__)'
python3 -c 'import google.protobuf' 2>&1 | tail -1""")
    assert printed.splitlines()[:2] == ["/usr/bin/python3", "/usr/local/Ascend/ascend-toolkit/latest/bin/atc"]
    assert "ascend-toolkit/latest/python/site-packages" in printed and "/opt/venv/lib/python3.11/site-packages/ais_bench" in printed
    assert "ModuleNotFoundError" in printed.splitlines()[-1]


def test_cann_compiles_without_a_chip_and_infers_with_one(checkout, cann, out):
    """All the way with the tools of the base; at the end they are found out: they are not the chip's."""
    asked = [f"OUT_ROOT={out}", "SOC=Ascend310P3", "MODEL=bilstm_crf", "LOOP=5"]
    printed = make(checkout, *asked, "DEVICE=3", "infer", "perf", user=True)
    assert "running in npukit-cann with docker" in printed and stages(printed) == ["inputs", "pth2onnx", "atc", "infer",
                                                                                   "perf"]
    assert "which do not belong there" in make(checkout, *asked, "all", fails=True, user=True) and not foreign(out)
    printed = make(checkout, *asked, "STANDIN=1", "IMAGE=npukit-cann", "all", user=True)
    assert re.search(r"^bilstm_crf +tiny +Ascend310P3-standin .* pass$", printed, re.M)


def test_four_chips_take_four_batch_sizes(checkout, cann, out):
    asked = [f"OUT_ROOT={out}", "SOC=Ascend310P3", "MODEL=bilstm_crf", "BS=1 4 8 16"]
    printed = make(checkout, *asked, "DEVICES=0 1 2 3", "infer", user=True)
    assert sorted(stages(printed)) == sorted(["inputs", "pth2onnx", *["atc"] * 4, *["infer"] * 4])
    assert re.findall(r"--device (/dev/davinci\d)", printed) == [f"/dev/davinci{n}" for n in range(4)]
    assert {path.name for path in (out / ".locks").glob("npu*")} == {f"npu{n}"
                                                                     for n in range(4)}, "each knows its chip by the node"


PROBLEMS = {
    "missing": ([], {}, "there is no /dev/davinci device here; a container is given one with --device /dev/davinci0",
                75),
    "wrong group": (["--device", "/dev/davinci0"], {},
                    f"belongs to group {CHIPS} and uid {USER} may not open it; run the container with "
                    f"--group-add {CHIPS}", 2),
    "busy": (["--device", "/dev/davinci0", "--group-add", str(CHIPS)],
             {"NPUKIT_STANDIN_NPU_SMI": "/npukit/out/chips.json"},
             "device 0 is busy with process 4711", 75),
    "lost": (["--device", "/dev/davinci0", "--group-add", str(CHIPS)], {"NPUKIT_STANDIN_FAULT": "507033"},
             "the device or its driver failed", 75),
}


@pytest.fixture(scope="module")
def compiled(checkout, cann, place) -> Path:
    """An out/ in which only the chip's stages are missing."""
    folder = place / "compiled"
    folder.mkdir()
    os.chown(folder, USER, GROUP)
    make(checkout, f"OUT_ROOT={folder}", "SOC=Ascend310P3", "MODEL=bilstm_crf", "LOOP=5", "atc", user=True)
    (folder / "chips.json").write_text('[{"id": 0, "chip": 0, "processes": [{"pid": 4711}]}]')
    return folder


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_chip_that_cannot_be_had(checkout, cann, compiled, problem):
    flags, environment, sentence, code = PROBLEMS[problem]
    settings = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    asked = ["make", "SOC=Ascend310P3", "MODEL=bilstm_crf", "LOOP=5", "perf"]
    printed = run(*by_hand(checkout, compiled, cann, *flags, *settings), *asked, fails=True)
    assert sentence in printed and f"Error {code}\n" in printed and "Traceback" not in printed.split("npukit:")[-1]


def test_the_doctor_looks_from_inside(checkout, cann, compiled):
    printed = run(*by_hand(checkout, compiled, cann, "--device", "/dev/davinci1"), "make", "doctor", fails=True)
    assert "wrong permission" in printed and f"--group-add {CHIPS}" in printed and "the OM runner" in printed and "9.0.1" in printed
