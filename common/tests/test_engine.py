"""The front door in front of an engine: what `docker run` is asked for. The engines are stubs; docker/test_images.py has a real one.

A stub answers to `image inspect` with a revision, to `info` with what is planted, and notes everything else.
"""
import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from processes import started_with
from toytree import LATER, ROOT, Tree, folders, wait_for

CHIP = "SOC=Ascend310P3"
LOCK = ROOT / "common" / "npuops" / "lock.py"
FOUR = "NODES=/dev/davinci0 /dev/davinci1 /dev/davinci2 /dev/davinci3"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    tree = Tree(tmp_path_factory.mktemp("engine") / "checkout")
    tree.plant()
    return tree


@pytest.fixture(autouse=True)
def docker(tree):
    """The engine that answers, until a test says otherwise."""
    plant(tree, "docker")
    plant(tree, "podman", images=())
    yield
    for name in ("asked", "told", "order", "tools/npu-smi"):
        tree.path(name).unlink(missing_ok=True)


def plant(tree: Tree, engine: str, images=("npukit-cpu", "npukit-cann", "site/own:1"), info: str = "[] map[runc:{}]",
          run: str = "true"):
    tree.tool(engine, f"""case "$1 $2" in
        'image inspect') [[ ' {' '.join(images)} ' == *" ${{@: -1}} "* ]] && echo 0123abc ;;
        'info '*) echo '{info}' ;;
        *) echo "$(date +%s%N) ${{*@Q}}" >>{tree.path('asked')}; {run} ;;
        esac""")


def started(tree: Tree) -> list[list[str]]:
    """Return what the stub was asked to start, each as its words."""
    lines = tree.path("asked").read_text().splitlines() if tree.path("asked").exists() else []
    return [shlex.split(line)[1:] for line in lines]


def make(tree: Tree, *arguments: str, **options) -> str:
    return tree.make("ENGINE=", *arguments, **options)


def after(words: list[str], flag: str) -> list[str]:
    """Return the values of a flag."""
    return [value for name, value in pairwise(words) if name == flag]


def test_one_container_takes_all_models_sealed(tree):
    printed = make(tree, "MODEL=toy toy2", "BS=1 4", "all")
    assert "running in npukit-cpu with docker" in printed and "holds commit 0123abc, this checkout is at" in printed
    [words] = started(tree)
    assert words[:2] == ["run", "--rm"] and {"--read-only", "--network", "none"} <= set(words)
    assert after(words, "-v") == [f"{tree.root}/data:/npukit/data:ro", f"{tree.root}/out:/npukit/out"]
    assert after(words, "--tmpfs") == ["/tmp"] and after(words, "--cap-drop") == ["ALL"]
    assert not {"--privileged", "--device", "--group-add"} & set(words)
    ids = subprocess.run("echo $(id -u):$(id -g)", shell=True, capture_output=True, text=True).stdout.strip()
    assert after(words, "--user") == [ids]
    assert words[words.index("npukit-cpu"):] == [
        "npukit-cpu", "make", "MODEL=toy toy2", "BS=1 4", "PROFILE=tiny", "SOC=cpu", "STANDIN=", "all"]


def test_a_dry_run_prints_and_starts_nothing(tree):
    printed = make(tree, "-n", CHIP, FOUR, "DEVICE=2", "all")
    assert len(re.findall(r"^(?:\S+ -IS \S+/lock.py /tmp/npukit-davinci2 )?docker run ", printed,
                          re.M)) == 3 and not started(tree)
    assert re.findall(r"--device (\S+)", printed) == ["/dev/davinci2"]


@pytest.mark.parametrize("flag", ["-q", "-t", "-kn", "-nj4"])
def test_what_makes_nothing_starts_nothing(tree, flag):
    make(tree, flag, "all")
    assert not started(tree)


def test_podman_takes_it_where_docker_has_no_image_and_engine_chooses(tree):
    plant(tree, "docker", images=())
    plant(tree, "podman")
    assert "running in npukit-cpu with podman" in make(tree, "-n", "all")
    plant(tree, "docker")
    assert "running in npukit-cpu with podman" in make(tree, "-n", "all", "ENGINE=podman")
    assert "running in site/own:1 with docker" in make(tree, "-n", "all", "IMAGE=site/own:1")
    assert "running on this machine: ENGINE=none" in make(tree, "-n", "all", "ENGINE=none")
    assert "docker does not answer, or has no image other" in make(tree, "all", "ENGINE=docker", "IMAGE=other",
                                                                   fails=True)


@pytest.mark.parametrize("name", ["ENGINE", "IMAGE"])
def test_no_shell_reads_a_name(tree, name):
    evil = f"docker';touch${{IFS}}{tree.path('evil')};'"
    assert "does not answer, or has no image" in make(tree, "all", "ENGINE=docker", f"{name}={evil.replace('$', '$$')}",
                                                      fails=True)
    assert not tree.path("evil").exists()


def test_this_machine_does_without_docker_run(tree):
    """An image has the front door and not what starts containers."""
    tree.path("docker/run").rename(tree.path("docker/away"))
    try:
        printed = make(tree, "-n", "all", "ENGINE=none")
        assert "running on this machine: ENGINE=none" in printed and "docker/run" not in printed
    finally:
        tree.path("docker/away").rename(tree.path("docker/run"))


def test_flags_of_ones_own_are_words_as_a_shell_takes_them(tree):
    make(tree, "RUN_FLAGS=--memory 16g --label 'a b'", "atc")
    assert after(started(tree)[0], "--memory") == ["16g"] and after(started(tree)[0], "--label") == ["a b"]
    assert "RUN_FLAGS=--label 'a: No closing quotation; quote its words as for a shell" in make(
        tree, "RUN_FLAGS=--label 'a", "atc", fails=True)


def test_what_was_set_is_handed_on_and_places_are_not(tree):
    value = """--log=info --x='a "b' ;$$HOME"""
    make(tree, f"ATC_FLAGS={value}", "ON_BAD_INPUT=skip", "V=1", "DEVICE=3", f"VENV={tree.root}/venv", "atc",
         LOOP="7", PYTHONPATH="/nowhere")
    [words] = started(tree)
    handed = dict(word.split("=", 1) for word in words[words.index("make") + 1:] if "=" in word)
    assert handed == {"MODEL": "toy", "BS": "1", "PROFILE": "tiny", "SOC": "cpu", "STANDIN": "", "V": "1",
                      "ON_BAD_INPUT": "skip",
                      "LOOP": "7", "ATC_FLAGS": value.replace("$$", "$")}


def test_files_of_ones_own_are_there_too(tree):
    """Whatever they are given as; what is not there is not mounted, for the engine would make it, as root."""
    path = f"{tree.root}/models/toy2/weights.txt"
    make(tree, f"VOCAB={path}", "CHECKPOINT=/no/such", "pth2onnx")
    mounted = after(started(tree)[0], "-v")
    assert f"{path}:{path}:ro" in mounted and not [word for word in mounted if "/no/such" in word]


def test_no_container_has_a_network(tree):
    for goal in ("train", "results", "ledger", "why", "clean"):
        make(tree, goal)
    assert [after(words, "--network") for words in started(tree)] == [["none"]] * 5


@pytest.mark.parametrize("given, measured, last", [
    (["all"], "infer perf", "all"), (["clean", "all"], "infer perf", "all"), (["infer"], "infer", None),
    (["perf"], "perf", None), (["postprocess"], "infer perf", "postprocess")])
def test_the_chip_is_held_only_while_it_infers(tree, given, measured, last):
    make(tree, CHIP, FOUR, "DEVICE=3", *given)
    before, chip, *rest = started(tree)
    assert before[-1] == "atc" and ("clean" in before) == ("clean" in given)
    assert " ".join(chip).endswith(f"BESIDE=1 {measured}") and [words[-1] for words in rest] == ([last] if last else [])
    assert [after(words, "--device") for words in (before, chip, *rest)] == [[], ["/dev/davinci3"], *([] for _ in rest)]
    assert not [word for words in (before, chip, *rest)
                for word in words if word.startswith("DEVICE")], "inside it is 0"


def test_a_cluster_job_that_judges_has_no_chip(tree):
    """Its chip was another job's; what it needs is done, or is an error and not a reason to infer."""
    make(tree, CHIP, FOUR, "JOB=1", "postprocess")
    [words] = started(tree)
    assert "--device" not in words and "JOB=1" in words and words[-1] == "postprocess"


def test_what_only_compiles_needs_no_chip(tree):
    make(tree, CHIP, "NODES=", "atc")
    make(tree, CHIP, "NODES=", "STANDIN=1", "all")
    assert [words[-1] for words in started(tree)] == ["atc", "all"]


@pytest.mark.parametrize("given, sentence", [
    ("DEVICE=7", "there is no /dev/davinci7 on this host; there is /dev/davinci0 /dev/davinci1"),
    ("DEVICE=x", "DEVICE='x'; it is a chip's number"), ("DEVICES=0 y", "there is no /dev/davinciy"),
    ("DEVICES=", "there is no /dev/davinci on this host"),
    ("NODES=", "there is no /dev/davinci0 on this host; has it an NPU and its driver?")])
def test_a_chip_that_is_not_there(tree, given, sentence):
    assert sentence in make(tree, CHIP, *([] if given == "NODES=" else [FOUR]), given, "all",
                            fails=True) and not started(tree)


def test_several_chips_never_two_jobs_on_one(tree):
    """Ten jobs on three chips: each has one, every chip works, jobs of one chip follow each other, jobs of several overlap."""
    plant(tree, "docker", run=f"""
        for word in "$@"; do [[ $word == /dev/davinci* ]] && chip=$word; done
        [[ -z ${{chip:-}} ]] || {{ echo "begin $chip" >>{tree.path('order')}; sleep 0.15; echo "end $chip" >>{tree.path('order')}; }}""")
    make(tree, CHIP, FOUR, "DEVICES=0 2 3", "MODEL=toy toy2", "BS=all", "all")
    jobs = [words for words in started(tree) if "BESIDE=1" in words]
    devices = [after(words, "--device") for words in jobs]
    assert sorted(map(tuple, devices)) == sorted([(f"/dev/davinci{n}",) for n in (0, 2, 3)] * 2)
    assert {tuple(word for word in words if word.startswith(("MODEL", "BS"))) for words in jobs} == {
        (f"MODEL={model}", f"BS={n}") for model in ("toy", "toy2") for n in (1, 2, 4)}
    held, most = set(), 0
    for line in tree.path("order").read_text().splitlines():
        what, chip = line.split()
        assert (chip in held) == (what == "end"), "two on one chip"
        held = held - {chip} if what == "end" else held | {chip}
        most = max(most, len(held))
    assert most > 1, "nothing ran side by side"
    assert started(tree)[0][-1] == "atc" and started(tree)[-1][-1] == "all"


ON_A_CHIP = "[[ ${*@Q} == */dev/davinci* ]] || exit 0; "  # what a stub does only as a container that has a chip


def test_what_runs_is_left_to_finish_when_another_fails(tree):
    """Chip 0 fails its first job; chip 2 ends its own, and nothing more is started."""
    plant(tree, "docker",
          run=ON_A_CHIP + f"[[ ${{*@Q}} != *davinci0* ]] || exit 3; sleep 0.5; echo done >>{tree.path('order')}")
    printed = make(tree, CHIP, FOUR, "DEVICES=0 2", "BS=all", "all", fails=True)
    assert "Error 3" in printed and tree.path("order").read_text() == "done\n"
    assert [after(words, "--device") for words in started(tree)] == [[], ["/dev/davinci0"], ["/dev/davinci2"]]


def test_other_chips_keep_going_if_told_so(tree):
    plant(tree, "docker", run=ON_A_CHIP + "[[ ${*@Q} != *davinci0* ]] || exit 3")
    make(tree, "-k", CHIP, FOUR, "DEVICES=0 2", "MODEL=toy toy2", "BS=all", "all", fails=True)
    devices = [after(words, "--device") for words in started(tree)]
    assert sorted(devices) == [[], ["/dev/davinci0"], *[["/dev/davinci2"]] * 3], "nothing judges what is not complete"


def test_lines_of_several_containers_stay_whole(tree):
    plant(tree, "docker", run=ON_A_CHIP + """
        for n in {1..20}; do printf 'one-'; printf 'two-' >&2; sleep 0.01; echo whole; echo whole >&2; done; printf last""")
    printed = make(tree, CHIP, FOUR, "DEVICES=0 2", "BS=1 2", "infer")
    lines = re.findall("^.*(?:whole|one-|two-|last).*$", printed, re.M)
    assert sorted(lines) == ["last"] * 2 + ["one-whole"] * 40 + ["two-whole"] * 40


@pytest.mark.parametrize("number, send", [
    (signal.SIGTERM, os.kill), (signal.SIGTERM, os.killpg), (signal.SIGINT, os.killpg), (signal.SIGHUP, os.killpg)])
def test_a_signal_ends_every_container_and_starts_no_other(tree, number, send):
    """Each is told once, whoever else was told: docker leaves its container behind at the third signal."""
    told, begun = tree.path("told"), tree.path("order")
    plant(tree, "docker", run=ON_A_CHIP + f"""trap 'echo told >>{told}' TERM INT HUP
        sleep 300 & echo begun >>{begun}; wait; kill $!; sleep 0.2; exit 1""")
    command = tree.command("ENGINE=", CHIP, FOUR, "DEVICES=0 2", "BS=all", "all")
    with subprocess.Popen(command, cwd=tree.root, env=tree.environment(), start_new_session=True,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: begun.exists() and begun.read_text() == "begun\n" * 2)
        send(process.pid, number)
        assert process.wait(60)
    assert told.read_text() == "told\n" * 2 and len(started(tree)) == 3
    assert not started_with(f"bash {tree.tools}/docker")


def test_a_signal_ends_the_wait_for_a_chip(tree):
    Path("/tmp/npukit-davinci3").mkdir(exist_ok=True)
    holder = [sys.executable, LOCK, "/tmp/npukit-davinci3", "bash", "-c", "echo; exec sleep 300"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as held:
        held.stdout.readline()
        command = tree.command("ENGINE=", CHIP, FOUR, "DEVICE=3", "infer")
        with subprocess.Popen(command, cwd=tree.root, env=tree.environment(), text=True, start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as waiting:
            wait_for(lambda: started_with("lock.py /tmp/npukit-davinci3 docker"))
            os.killpg(waiting.pid, signal.SIGINT)
            assert "Traceback" not in waiting.stdout.read()
        held.kill()
    assert len(started(tree)) == 1 and not started_with("lock.py /tmp/npukit-davinci3 docker")


def test_without_an_engine_there_is_one_chip(tree):
    assert "to spread a run over chips takes a container engine" in tree.make("DEVICES=0 1", "all", fails=True)


def test_a_chip_in_use_is_waited_for(tree):
    """The lock is the host's: another checkout's job holds it as well."""
    Path("/tmp/npukit-davinci3").mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, LOCK, "/tmp/npukit-davinci3", "bash", "-c", "echo; sleep 1"],
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        make(tree, CHIP, FOUR, "DEVICE=3", "infer")
        assert holder.poll() is not None and len(started(tree)) == 2


def test_a_foreign_process_on_the_chip_is_named_and_stops_the_measurement(tree):
    tree.tool("npu-smi", f"""PATH={tree.tools}:$PATH exec python3 {tree.path('common/standin/bin/npu-smi')} "$@" """)
    chips = tree.path("chips.json")
    chips.write_text('[{"id": 8, "chip": 0}, {"id": 8, "chip": 1, "processes": [{"pid": 99999999}]}]')
    printed = make(tree, CHIP, FOUR, "DEVICE=1", "all", fails=True, NPUKIT_STANDIN_NPU_SMI=str(chips))
    assert "npukit: device 1 is busy with process 99999999" in printed and "Error 75" in printed
    assert [words[-1] for words in started(tree)] == ["atc"]
    make(tree, CHIP, FOUR, "DEVICE=0", "all", NPUKIT_STANDIN_NPU_SMI=str(chips))


def test_the_ascend_runtime_brings_the_devices(tree):
    plant(tree, "docker", info="[] map[ascend:{} runc:{}]")
    make(tree, CHIP, FOUR, "DEVICE=2", "infer")
    chip = started(tree)[-1]
    assert after(chip, "--runtime") == ["ascend"] and after(chip,
                                                            "-e") == ["ASCEND_VISIBLE_DEVICES=2"] and "--device" not in chip
    make(tree, CHIP, FOUR, "DEVICE=2", "ASCEND_RUNTIME=", "infer")
    assert after(started(tree)[-1], "--device") == ["/dev/davinci2"]


def test_the_user_without_roots_help(tree):
    plant(tree, "docker", info="[name=seccomp name=rootless] map[runc:{}]")
    make(tree, "atc")
    assert after(started(tree)[0], "--user") == ["0:0"], "there root is the caller"
    somebody = tree.path("common/sitecustomize.py")
    somebody.write_text("import os\nos.getuid, os.getgid = lambda: 1234, lambda: 5678\n")
    try:
        plant(tree, "docker")
        make(tree, "atc")
        plant(tree, "podman")
        make(tree, CHIP, FOUR, "infer", "ENGINE=podman")
    finally:
        somebody.unlink()
    assert after(started(tree)[1], "--user") == ["1234:5678"]
    chip = started(tree)[-1]
    assert after(chip, "--userns") == ["keep-id"] and after(chip, "--user") == ["1234:5678"]
    assert after(chip, "--group-add") == ["keep-groups"]


def test_what_the_host_made_is_up_to_date_elsewhere(tree, tmp_path):
    """The stages' keys hold no places: another mount of the same files runs nothing."""
    tree.make("all")
    moved = tmp_path / "npukit"
    subprocess.run(["cp", "-a", tree.root, moved], check=True)
    other = Tree(moved)
    assert "s  /" not in other.make(f"VENV={tree.root}/venv", "all") and folders(LATER["postprocess"])


@pytest.mark.parametrize("line", re.findall(r"^make .*", (ROOT / "docker/README.md").read_text(), re.M))
def test_what_the_readme_says_to_type(tree, line):
    tree.path("wheelhouse").mkdir(exist_ok=True)
    assert "docker" in make(tree, "-n", *shlex.split(line)[1:])


def test_a_failed_container_fails_the_run(tree):
    plant(tree, "docker", run="exit 2")
    make(tree, "all", fails=True)
    assert len(started(tree)) == 1


RUN = ast.parse((ROOT / "docker/run").read_text(), feature_version=(3, 8))


def test_it_reads_as_the_python_of_an_old_host():
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in RUN.body)


@pytest.mark.parametrize("what", ["data/", "out/", "CORPUS=", "network", "capability", "read-only root", "/tmp",
                                  "caller's user", "chip"])
def test_its_first_words_say_what_a_container_gets(what):
    assert what in ast.get_docstring(RUN).partition("What a container gets, and why:")[2]
