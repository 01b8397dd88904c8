"""make's promises, tried on a toy with the doors of a real model and the real stand-in.

The traps once met, and where they are kept shut: (1) MODEL meaning two things and (2) .PHONY switching patterns off:
every run of two models from the front door, `built` first of all; (3) -n starting a container:
test_engine.py; (4) `-j clean all`: test_clean_comes_first; (5) .DELETE_ON_ERROR ignoring folders:
test_a_failed_stage_is_no_stage; (6) a removed modify_onnx.py: PREREQUISITES; (7) two makes at once:
test_one_make_at_a_time_on_a_model; (8) a pipe hiding a failure: test_recipes_fail_with_their_first_failure; (9) a library
module that no rule names: test_rooms.py, and PREREQUISITES; (10) new CANN, old .om: test_a_new_cann_makes_all_stale; an
image has its CANN's version in it, but its own digest is no prerequisite.
"""
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from toytree import LATER, STAGES, Tree, explained, folder, folders, planned, ran, wait_for

BOTH, SIZES = "MODEL=toy toy2", (1, 2, 4)
TIMES = {"started", "seconds"}


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> tuple[Tree, Path]:
    """Two models, three batch sizes each, built one stage after another; and a copy of it all."""
    tree = Tree(tmp_path_factory.mktemp("make") / "checkout")
    tree.plant()
    printed = tree.make(BOTH, "BS=all", "all")
    assert ran(printed) == folders(STAGES, "toy", SIZES) | folders([s for s in STAGES if s != "modify_onnx"], "toy2", SIZES)
    assert len(re.findall(r"^toy2? +tiny +cpu .* pass$", printed, re.M)) == 6
    pristine = tree.root.with_name("pristine")
    shutil.copytree(tree.root, pristine, symlinks=True)
    return tree, pristine


@pytest.fixture
def still(built) -> Tree:
    """The two models as they were built, for tests that leave them so."""
    tree, pristine = built
    if tree.spoilt:  # the same place and the same times: stages know both
        shutil.rmtree(tree.root)
        shutil.copytree(pristine, tree.root, symlinks=True)
        tree.spoilt = False
    return tree


@pytest.fixture
def tree(still) -> Tree:
    """The same, for tests that do not."""
    still.spoilt = True
    return still


def reports(root: Path, *models: str) -> dict[str, dict]:
    """Return every report without its times."""
    found = {}
    for model in models:
        for path in sorted(root.glob(f"out/cpu/tiny/{model}/bs*/postprocess/report.json")):
            report = json.loads(path.read_text())
            assert report.pop("performance")["pure_inference"]["samples_per_s"] > 0
            report["provenance"] = {key: value for key, value in report["provenance"].items() if key not in TIMES}
            found[f"{model}/{path.parts[-3]}"] = report
    return found


def test_the_library_is_the_checkouts_own(tree):
    tree.edit("common/npukit/corpus/batches.py", "def read_outputs", "def read_no_outputs")
    assert f"cannot import name 'read_outputs' from 'npukit.corpus.batches' ({tree.root}/" in tree.make("postprocess", fails=True)


# --- A second make runs nothing; a changed prerequisite its stage and the later ones ---------------------------------


@pytest.mark.parametrize("sizes", ["all", "1 2 4", "4"])
def test_a_second_make_runs_nothing(still, sizes):
    before = still.files()
    printed = still.make(BOTH, f"BS={sizes}", "all")
    assert not ran(printed) and still.files() == before
    assert len(re.findall(r" pass$", printed, re.M)) == 2 * (1 if sizes == "4" else 3)
    assert re.search("^toy is up to date$", still.make(f"BS={sizes}", "why"), re.M)
    assert not planned(still.make(BOTH, f"BS={sizes}", "-n", "all"))


NPUKIT, STANDIN, TOY = "common/npukit", "common/standin", "models/toy"
PREREQUISITES = [  # what is touched, and the first stage that runs again
    *((f"{TOY}/{stage}.py", stage) for stage in ("preprocess", "pth2onnx", "modify_onnx", "postprocess")),
    (f"{TOY}/atc.sh", "atc"), (f"{TOY}/infer.sh", "infer"), (f"{TOY}/toy.py", "preprocess"),
    *((f"{NPUKIT}/{module}.py", "preprocess") for module in ("__init__", "errors", "command", "files", "corpus/store")),
    *((f"{NPUKIT}/judge/{module}", "postprocess") for module in ("report.py", "performance.py", "report.schema.json")),
    ("data/tiny/toy/numbers.txt", "preprocess"), (f"{TOY}/vocab.txt", "preprocess"), (f"{TOY}/weights.txt", "pth2onnx"),
    (f"{NPUKIT}/judge/ledger.py", "pth2onnx"), (f"{TOY}/original.json", "postprocess"),
    *((f"{STANDIN}/{file}", "atc") for file in ("bin/atc", "standin/om.py", "standin/atc/operators.txt")),
    *((f"{STANDIN}/{file}", "infer and perf") for file in ("standin/runtime.py", "ais_bench/__main__.py", "aclruntime/session.py")),
    *((name, None) for name in (f"{NPUKIT}/judge/metrics.py", f"{NPUKIT}/corpus/new.py", "common/npuops/stage/run.py", f"{TOY}/train.py",
                                f"{TOY}/test_toy.py", "models/toy2/atc.sh")),
]


@pytest.mark.parametrize("name, first", PREREQUISITES, ids=[name for name, _ in PREREQUISITES])
def test_a_touched_file_makes_its_stage_and_the_later_ones_stale(still, name, first):
    with still.changed(name):
        expect_stale(still, (LATER | {"infer and perf": STAGES[4:]}).get(first, []), reason=f"{still.path(name)} is newer")


OTHERWISE = "its command, flags or tool versions have changed"
FLAGS = [  # how a flag is given, the stages that run
    (["LOOP=7"], ["perf", "postprocess"]), (["ATC_FLAGS=--log=info"], LATER["atc"]),
    (["DEVICE=1"], ["perf", "infer", "postprocess"]), (["CORPUS={root}/data/tiny/../tiny/toy/numbers.txt"], STAGES),
    (["CHECKPOINT={root}/models/toy2/weights.txt"], LATER["pth2onnx"]), (["VOCAB={root}/models/toy2/vocab.txt"], STAGES),
    (["STANDIN=1"], []),
]


@pytest.mark.parametrize("given, stale", FLAGS, ids=[given[0] for given, _ in FLAGS])
def test_another_flag_makes_its_stages_stale(still, given, stale):
    expect_stale(still, stale, *(flag.format(root=still.root) for flag in given), reason=OTHERWISE)


def test_what_lengths_cost_on_the_chip_is_part_of_the_inputs(still):
    with bert(still) as place:
        (place / "costs").mkdir()
        for chip, given in (("cpu", True), ("Ascend310P3", False)):
            (place / f"costs/{chip}.json").touch()
            assert (f"--gear_cost {place}/costs/{chip}.json" in still.make("MODEL=toy3", "-n", "preprocess")) == given


@contextmanager
def bert(tree: Tree):
    """Have a third model, which takes its lengths and its network from bert.mk, to look at with -n."""
    place = tree.path("models/toy3")
    shutil.copytree(tree.path(TOY), place)
    text = (place / "Makefile").read_text().replace("--output .", "--output . $(lengths)").replace("/model.mk", "/bert.mk")
    (place / "Makefile").write_text("SEQ_LENS ?= 4\nCHECKPOINT ?= $(CURDIR)\n" + text)
    try:
        yield place
    finally:
        shutil.rmtree(place)


FACTS = {"PREPROCESS": STAGES, "PTH2ONNX": LATER["pth2onnx"], "MODIFY_ONNX": LATER["modify_onnx"],
         "POSTPROCESS": ["postprocess"], "SUMMARY": []}


@pytest.mark.parametrize("fact", FACTS)
def test_an_edited_makefile_makes_the_stages_of_the_edit_stale(still, fact):
    with still.changed(f"{TOY}/Makefile", f"\n{fact} =", f"\n{fact} = --more"):
        expect_stale(still, FACTS[fact], reason=OTHERWISE)


def test_other_tools_make_all_stale(still):
    with still.changed("venv/ready", "the day", "another day"):
        expect_stale(still, STAGES, reason=OTHERWISE)


def test_a_graph_edit_may_come_and_go(tree):
    tree.path(TOY, "modify_onnx.py").rename(tree.path("models/toy2/modify_onnx.py"))
    expect_stale(tree, LATER["atc"], reason=OTHERWISE)
    expect_stale(tree, LATER["modify_onnx"], "MODEL=toy2", reason="it does not exist")


def expect_stale(tree: Tree, stale: list[str], *given: str, reason: str = "") -> None:
    """Check that `make -n` and `make why` name exactly these stages, for two batch sizes, and why says the reason."""
    model = next((word.partition("=")[2] for word in given if word.startswith("MODEL=")), "toy")
    expected = folders(stale, model, (1, 4))
    assert planned(tree.make(*given, "BS=1 4", "-n", "all")) == expected
    why = explained(tree.make(*given, "BS=1 4", "why"))
    assert why.keys() == expected
    assert not stale or any(reason in why[place] for place in folders(stale[:1], model))


RUNS = [("touch data/tiny/toy/numbers.txt", [], STAGES),
        ("rm models/toy/modify_onnx.py", [], LATER["atc"]), ("true", ['ATC_FLAGS="--log=info" --out_nodes=\'\''], LATER["atc"]),
        ("touch models/toy/infer.sh", [], LATER["infer"]), ("true", ["LOOP=7"], LATER["perf"]),
        ("sed -i 's/--labels/  &/' models/toy/Makefile; touch common/npukit/judge/report.py", [], LATER["postprocess"])]


@pytest.mark.parametrize("change, given, stale", [*(pytest.param(*run, marks=pytest.mark.long) for run in RUNS[:-1]), RUNS[-1]],
                         ids=[f"{change} {' '.join(given)}" for change, given, _ in RUNS])
def test_the_stale_stages_run_and_then_nothing_is_stale(tree, change, given, stale):
    subprocess.run(["bash", "-c", change], cwd=tree.root, check=True)
    goal = [*given, "BS=1 4", "-j4", "all"]
    assert ran(tree.make(*goal)) == folders(stale, "toy", (1, 4))
    assert not ran(tree.make(*goal))


def test_single_stages_build_what_they_need_and_no_more(tree):
    tree.make(BOTH, "clean")
    assert not list(tree.out.iterdir())
    for stage in ("preprocess", "pth2onnx", "modify_onnx", "atc", "infer", "perf", "postprocess"):
        assert ran(tree.make("BS=2", stage)) == folders([stage], "toy", [2])
    assert ran(tree.make("MODEL=toy2", "BS=2", "atc")) == folders(["preprocess", "pth2onnx", "atc"], "toy2", [2])


def test_a_model_works_by_itself(tree):
    tree.path(TOY, "postprocess.py").touch()
    printed = tree.make("BS=1", "all", cwd=tree.path(TOY))
    assert ran(printed) == folders(["postprocess"]) and re.search(r"^toy +tiny +cpu +1 .* pass$", printed, re.M)
    assert not ran(tree.make("BS=1", "all"))
    tree.path(TOY, "postprocess.py").touch()
    printed = tree.make("V=1", "all", cwd=tree.path(TOY))
    assert planned(printed) == folders(["postprocess"]) and not ran(tree.make("all")), "V=1 only shows"
    assert "lines of four numbers" in tree.make(cwd=tree.path(TOY)) and "numbers.txt" in tree.make("show", cwd=tree.path(TOY))
    assert "models: toy toy2" in tree.make()


# --- -n looks and does not touch -------------------------------------------------------------------------------------


def test_dry_runs_print_the_commands_and_leave_nothing(tree):
    before = tree.files()
    printed = tree.make("-n", "LOOP=7", "all")
    assert "--loop 7" in printed and not ran(printed) and tree.files() == before
    assert not ran(tree.make("all")) and tree.files() == before
    tree.make("clean")
    before = tree.files()
    printed = tree.make("-n", "all")
    assert planned(printed) == folders(STAGES) and f"bash {tree.path(TOY, 'atc.sh')} " in printed
    assert tree.files() == before and not list(tree.out.glob("toy/*"))


def test_a_dry_run_installs_nothing(still):
    assert "setup.sh" in still.make("-n", f"VENV={still.root}/none", "all") and not still.path("none").exists()


# --- What a machine lacks is named before anything starts ------------------------------------------------------------


def test_a_machine_without_python_is_told_so(still):
    said = still.make("PYTHON3=python9", "all", fails=True)
    assert "there is no python9 on PATH; install Python 3.11 or 3.12 with its venv module (Debian: apt install python3-venv)" in said
    assert "npukit" in still.make("PYTHON3=python9", "help"), "the help needs none"


@pytest.mark.parametrize("version", ["3.81", "4.1"])
def test_an_old_make_is_told_so(still, version):
    assert f"this is GNU Make {version}; npukit needs 4.2 or newer" in still.make(f"MAKE_VERSION={version}", "all", fails=True)


PYTHONS = {  # what a python3 does with the line that it is given, and what is said
    "too old": ("import sys", "npukit needs Python 3.11 or 3.12, and {python} is Python 3.9.2; name another with PYTHON3="),
    "no venv": ("import ensurepip", "{python} cannot make an environment; install its venv module (Debian: apt install python3-venv)"),
}


@pytest.mark.parametrize("lack", PYTHONS)
def test_a_python_that_will_not_do_is_told_so(still, tmp_path, lack):
    line, said = PYTHONS[lack]
    python = tmp_path / "python3"
    python.write_text(f"""#!/usr/bin/env bash
        case "$*" in -V) echo Python 3.9.2 ;; *'{line}'*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac""")
    python.chmod(0o755)
    printed = still.make(f"PYTHON3={python}", f"VENV={tmp_path}/venv", "all", fails=True)
    assert said.format(python=python) in printed and "Error 2" in printed and not (tmp_path / "venv" / "bin").exists()


# --- Pulling the plug, several at once -------------------------------------------------------------------------------


def test_the_plug_is_pulled_in_every_stage(tree, built):
    tree.make("clean")
    for stage in STAGES:
        with tree.lingering("all", stage=stage):
            pass
        assert any(tree.out.glob(f"toy/**/.{Path(folder(stage)).name}.*.new")), "the half of a stage is there, hidden"
        assert planned(tree.make("-n", "all")) == folders(STAGES[STAGES.index(stage):]), "only the stage at hand is lost"
    assert ran(tree.make("all")) == folders(["postprocess"])
    assert reports(tree.root, "toy") == {"toy/bs1": reports(built[1], "toy")["toy/bs1"]}
    assert not list(tree.out.rglob(".*.new"))


def test_what_a_killed_stage_should_have_replaced_stays_stale(tree):
    tree.path(TOY, "infer.sh").touch()
    with tree.lingering("all", stage="infer"):
        pass
    assert ran(tree.make("all")) == folders(LATER["infer"])


@pytest.mark.long
def test_parallel_reports_are_the_serial_ones_and_timings_are_taken_alone(tree, built):
    python = tree.path("venv/bin/python")
    python.unlink()
    python.write_text('#!/usr/bin/env bash\nbegin=$EPOCHREALTIME; "$0"3 "$@"; status=$?\n'
                      f'echo "$begin $EPOCHREALTIME $*" >>{tree.root}/spans; exit $status\n')
    python.chmod(0o755)
    tree.make(BOTH, "clean")
    tree.make(BOTH, "BS=all", "-j4", "all")
    assert reports(tree.root, "toy", "toy2") == reports(built[1], "toy", "toy2")
    spans = [(float(begin), float(end), Path(place).name) for begin, end, place in
             re.findall(r"^(\S+) (\S+) -m npuops stage --into (\S+)", tree.path("spans").read_text(), re.M)]
    assert len(spans) == 17 + 14
    together = [{one[2], other[2]} for one in spans for other in spans if one < other and other[0] < one[1]]
    assert together, "nothing ran in parallel"
    assert not [pair for pair in together if pair & {"infer", "perf"}]


def test_clean_comes_first(tree):
    everything = folders(STAGES)
    assert ran(tree.make("-j", "clean", "all")) == everything
    assert not list(tree.out.glob("toy/bs4"))


def test_one_make_at_a_time_on_a_model(tree):
    for name in ("toy/preprocess.py", "toy2/atc.sh"):
        tree.path("models", name).touch()
    with tree.lingering("all", stage="preprocess"):
        printed = tree.make("all", fails=True)
        assert f"another make is at work on {tree.out}/toy; let it finish, or stop it" in printed and not ran(printed)
        assert ran(tree.make("MODEL=toy2", "atc")) == {"toy2/bs1/atc"}
        assert ran(tree.make("SOC=Ascend310P3", "STANDIN=1", "preprocess")) == {"toy/inputs"}, "another chip, another place"
    assert ran(tree.make("all")) == folders(STAGES)


# --- Impossible requests are answered at once ------------------------------------------------------------------------

IMPOSSIBLE = {
    "MODEL=nosuch": "there is no model nosuch; there are: toy toy2",
    "MODEL=": "there is no model ''; there are: toy toy2",
    "BS=3": "toy has no batch size 3; it has: 1 2 4, or BS=all",
    "BS=1 8": "toy has no batch size 8; it has: 1 2 4, or BS=all",
    "BS=": "toy has no batch size ''; it has: 1 2 4, or BS=all",
    "PROFILE=huge": "toy has no profile 'huge'; it has: tiny trained released",
    "PROFILE=tiny trained": "PROFILE='tiny trained': npukit takes no blanks here",
    "SOC=Atlas": "SOC='Atlas'; it is cpu, auto or a chip's name such as Ascend310P3",
    "SOC=": "SOC=''; it is cpu, auto or a chip's name such as Ascend310P3",
    "SOC=auto": "SOC=auto found no chip; name one, or SOC=cpu",
    "SOC=Ascend310P3": "SOC=Ascend310P3 needs CANN: there is no atc on PATH. Run in the cann image, or with STANDIN=1",
    "STANDIN=yes": "STANDIN='yes'; it is 1, or is not set",
    "ON_BAD_INPUT=maybe": "ON_BAD_INPUT='maybe'; it is stop or skip",
    "ENGINE=docker": "docker does not answer, or has no image npukit-cpu: see docker/README.md",
    "PROFILE=released": "data/toy/numbers.txt is missing; `make MODEL=toy fetch` brings it",
    "PROFILE=trained": "models/toy/trained.txt is missing; `make PROFILE=trained MODEL=toy fetch` brings what is released",
    "CHECKPOINT=/no/such": "/no/such is missing; it is what CHECKPOINT= names: a file or folder of your own",
    "CORPUS=/no/such": "/no/such is missing; it is what CORPUS= names: a file or folder of your own",
    "VOCAB=/no/such": "/no/such is missing; it is what VOCAB= names: a file or folder of your own",
    "MODLE=toy": "nothing knows MODLE=; `make show MODEL=name` tells what can be set",
    "VOCAB=vocab.txt": "VOCAB='vocab.txt': give the whole path, from /",
    "DEVICE=x1": "DEVICE='x1'; it is a chip's number: 0, 1, ...",
    "DEVICE=0 1": "DEVICE='0 1'; it is a chip's number: 0, 1, ...",
    "DATA=/a b": "DATA='/a b': npukit takes no blanks here",
    "OUT_ROOT=out2": "OUT_ROOT='out2': give the whole path, from /",
    "LOOP=": "models/toy/Makefile does not set LOOP; common/model.mk says what it means",
}


@pytest.mark.parametrize("given", IMPOSSIBLE)
def test_an_impossible_request_is_answered_before_anything_runs(still, given):
    answer_only(still, IMPOSSIBLE[given], given, "clean", "all")


@pytest.mark.parametrize("given", [given for given in IMPOSSIBLE if not given.startswith(("MODEL", "ENGINE"))])
def test_a_model_by_itself_answers_as_well(still, given):
    answer_only(still, IMPOSSIBLE[given], given, "clean", "all", cwd=still.path(TOY))


@pytest.mark.parametrize("goal, answer", [
    (["first-light"], "first-light is about a chip: SOC=auto asks npu-smi for it; with STANDIN=1 the stand-in answers in its place"),
    (["SOC=auto", "first-light"], "SOC=auto found no chip"), (["facts"], "FROM= is the tarball that first-light wrote"),
    (["FROM=none.tar.gz", "facts"], "none.tar.gz is not there; FROM= names the tarball"),
    (["FROM=Makefile", "facts"], "Makefile is no tarball of first light"),
    (["PROFILE=random", "ledger"], "toy has no profile 'random'"),
    (["PROFILE=trained", "ledger"], "there is no report yet; run make all first")])
def test_other_goals_answer_as_well(still, goal, answer):
    answer_only(still, answer, *goal)


def test_a_profile_that_one_model_lacks_is_answered_before_the_others_run(still):
    with still.changed("models/toy2/Makefile", "PROFILES = tiny trained released", "PROFILES = tiny released"):
        answer_only(still, "toy2 has no profile 'trained'; it has: tiny released; those that have trained: MODEL=\"toy\"",
                    "MODEL=toy toy2", "PROFILE=trained", "all")


def test_show_is_handed_on(still):
    printed = still.make("MODEL=toy toy2", "show")
    assert printed.count("lines of four numbers") == 2 and f"{still.out}/toy2" in printed


def test_the_stand_ins_npu_smi_answers_for_it(still):
    printed = still.make("SOC=auto", "STANDIN=1", "-n", "first-light")
    assert "--soc Ascend310P3 --standin --models toy" in printed and "--batches 1 8" in printed
    printed = still.make("SOC=auto", "STANDIN=1", "BS=2", "PROFILE=tiny", "-n", "first-light")
    assert "--batches 2 --profile tiny" in " ".join(printed.split())


@pytest.mark.parametrize("fact", "SUMMARY PROFILES BATCHES ONNX PREPROCESS PTH2ONNX POSTPROCESS".split())
def test_a_makefile_that_misses_a_fact_is_answered(still, fact):
    with still.changed(f"{TOY}/Makefile", f"\n{fact} =", "\nOTHER ="):
        answer_only(still, f"models/toy/Makefile does not set {fact}; common/model.mk says what it means", "all")


@pytest.mark.parametrize("place", ["", "models/toy"])
def test_a_checkout_below_a_name_with_blanks_is_answered(tree, tmp_path, place):
    moved = Tree(tmp_path / "two words")
    moved.plant()
    answer_only(moved, f"the checkout lies in '{moved.path(place)}': make cannot work in a path with blanks", "all",
                cwd=moved.path(place))


def test_a_library_module_that_is_gone_is_named(tree):
    tree.path("common/npukit/corpus/store.py").unlink()
    assert planned(tree.make("-n", "all")) == folders(STAGES)
    assert "cannot import name 'store' from 'npukit.corpus'" in tree.make("pth2onnx", fails=True)


def test_why_answers_as_well(still):
    answer_only(still, "data/toy/numbers.txt is missing", "PROFILE=released", "why")


@pytest.mark.parametrize("goal", ["clean", "help", "show"])
def test_what_needs_no_chip_asks_for_none(still, goal):
    still.make("SOC=Ascend310P3", goal, cwd=still.path(TOY))


@pytest.mark.parametrize("chip, among", [("SOC=cpu", False), ("SOC=Ascend310P3", True)])
def test_attention_has_lengths_of_its_own_on_a_chip(still, chip, among):
    """Where a model says that its network has attention; `show` tells what ATC fuses at the lengths, as far as they are known."""
    twin = [chip, "STANDIN=1", "BS=4"]
    with bert(still) as place:
        (place / "config.json").write_text('{"num_attention_heads": 12, "hidden_size": 768}')
        assert ("--multiple_of 32" in still.make("-n", *twin, "preprocess", cwd=place)) == among
        shown = [still.make(*twin, f"SEQ_LENS={lengths}", "show", cwd=place) for lengths in ("32 40", "auto")]
    assert "toy3, batch size 4, lengths 32 40: AttentionScore at 32 (length 40, expected a multiple of 32" in shown[0]
    assert ("toy3, batch size 4, auto, of the multiples of 32 up to 512: AttentionScore at all" in shown[1]) == among
    assert "AttentionScore" not in still.make(chip, "STANDIN=1", "show", cwd=still.path(TOY)), "a network without attention"


def answer_only(tree: Tree, sentence: str, *arguments: str, **options) -> None:
    """Check that make says the sentence, exits with 2, and has touched nothing."""
    before = tree.files()
    printed = tree.make(*arguments, fails=True, **options)
    assert sentence in printed
    told = [line for line in printed.splitlines() if not re.match(r"make\[?|running on|\S*__main__.py: |npukit: ", line)]
    assert len(told) <= 1 and tree.files() == before


# --- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem, answer, code", [
    ("raise SystemExit('the sums are wrong')", "the sums are wrong", 1),
    ("from npukit.errors import UserError; raise UserError('line 3 is short')", "preprocess.py: line 3 is short", 2),
    ("print('Aborted: 507033'); raise SystemExit(1)", "the device or its driver failed (507033)", 75),
    ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL", 1)])
def test_a_failed_stage_is_no_stage(tree, problem, answer, code):
    tree.make("clean")
    tree.edit(f"{TOY}/preprocess.py", '    toy.linger("preprocess")\n', f"    {problem}\n")
    printed = tree.make("all", fails=True)
    assert answer in printed and f"Error {code}\n" in printed
    assert sorted(path.name for path in tree.out.glob("toy/*")) == ["inputs.failed"], "nothing counts as done, not even by half"
    assert {"log.txt", "labels.txt"} <= {path.name for path in tree.out.glob("toy/inputs.failed/*")}
    tree.edit(f"{TOY}/preprocess.py", f"    {problem}\n", "")
    assert ran(tree.make("pth2onnx")) == folders(STAGES[:2]) and not list(tree.out.glob("toy/*.failed"))


def test_a_stage_that_fails_now_does_not_hide_behind_its_last_success(tree):
    tree.edit(f"{TOY}/atc.sh", "exec atc", "exec false")
    assert "Error 1" in tree.make("all", fails=True)
    assert planned(tree.make("-n", "all")) == folders(LATER["atc"])


def test_a_lost_device_is_the_infrastructures_fault(tree):
    for name in ("infer.sh", "atc.sh"):
        tree.path(TOY, name).touch()
    printed = tree.make("infer", fails=True, NPUKIT_STANDIN_FAULT="507033")
    assert "the device or its driver failed (507033)" in printed and "Error 75" in printed
    printed = tree.make("perf", fails=True, NPUKIT_STANDIN_NPU_SMI="/no/such/file")
    assert "dcmi module initialize failed. ret is -8005" in printed and "Error 75" in printed
    assert ran(tree.make("all")) == folders(LATER["infer"] + ["perf"])


def test_timings_are_refused_on_a_busy_device(tree, tmp_path):
    chips = tmp_path / "chips.json"
    chips.write_text(json.dumps([{"id": 8, "chip": 0}, {"id": 8, "chip": 1, "processes": [{"pid": 4711}]}]))
    for device in "10":
        printed = tree.make("perf", "LOOP=6", f"DEVICE={device}", fails=device == "1", NPUKIT_STANDIN_NPU_SMI=str(chips))
        assert ("device 1 is busy with process 4711" in printed and "Error 75" in printed) == (device == "1")


def test_a_missed_gate_fails_the_run_and_keeps_the_report(tree):
    tree.edit(f"{TOY}/postprocess.py", "logits = read_outputs", "logits = 0.1 + read_outputs")
    printed = tree.make("all", fails=True)
    assert re.search(r"^toy +tiny .* FAIL: largest difference from PyTorch$", printed, re.M)
    assert "toy at batch size 1 misses a bar" in printed and ran(printed) == folders(["postprocess"])
    assert json.loads((tree.out / "toy/bs1/postprocess/report.json").read_text())["passes"] is False
    assert "misses a bar" in (again := tree.make("all", fails=True)) and not ran(again)
    assert "FAIL" in tree.make("results")


def test_answers_that_depend_on_the_batch_size_fail_the_run(tree):
    tree.edit(f"{TOY}/postprocess.py", "logits.argmax(1), fmt", "logits.argmax(1) + (args.run.name == 'bs4'), fmt")
    tree.make("BS=1 2", "all")
    assert "toy on cpu, tiny: the answers at batch sizes [1, 2] and [4] differ" in tree.make("BS=1 2 4", "all", fails=True)


def test_recipes_fail_with_their_first_failure(tree):
    with open(tree.path(TOY, "Makefile"), "a") as makefile:
        makefile.write("\npiped: ; false | cat\nhalf: ; echo half >$@; false; true\n")
    tree.make("piped", fails=True, cwd=tree.path(TOY))
    tree.make("half", fails=True, cwd=tree.path(TOY))
    assert not tree.path(TOY, "half").exists()


# --- Chips and engines -----------------------------------------------------------------------------------------------


def test_auto_asks_the_chip_and_the_twin_lives_apart(tree):
    tree.tool("npu-smi", f'exec {tree.path("common/standin/bin/npu-smi")} "$@"')
    printed = tree.make("SOC=auto", "STANDIN=1", "all")
    assert ran(printed) == folders(STAGES) and re.search(r"^toy +tiny +Ascend310P3-standin .* pass$", printed, re.M)
    assert tree.path("out/Ascend310P3-standin/tiny/toy/bs1/postprocess/report.json").exists()
    assert not ran(tree.make("SOC=Ascend310P3", "STANDIN=1", "all", cwd=tree.path(TOY)))


def test_a_new_cann_makes_all_stale(tree, tmp_path):
    """Also: what a stand-in measured can not pass for a chip's."""
    for name in ("atc", "npu-smi"):  # with a Python of their own, as CANN's are: the environment's is not theirs
        tree.tool(name, f'[[ $(command -v python3) != */venv/* || {name} != atc ]] && exec {sys.executable} '
                        f'{tree.path("common/standin/bin", name)} "$@"')
    version = tmp_path / "version.cfg"
    version.write_text("version=8.0.RC2\n")
    on = "on_chip=", "SOC=Ascend310P3", "all"  # on_chip: here is no device node
    chip = {"ASCEND_TOOLKIT_HOME": str(tmp_path), "PYTHONPATH": str(tree.path("common/standin"))}
    assert "holds results of the stand-in, which do not belong there" in tree.make(*on, fails=True, **chip)
    assert planned(tree.make("-n", *on, **chip)) == folders(["postprocess"])
    version.write_text("version=8.0.0\n")
    assert planned(tree.make("-n", *on, **chip)) == folders(STAGES)


def test_without_an_engine_it_says_so(tree):
    assert "running on this machine: no container engine answers with an image npukit-cpu" in tree.make("ENGINE=", "all")
    assert "running on this machine: ENGINE=none" in tree.make("all")
    assert "running" not in tree.make("results")


def test_lingering_is_noticed(tree):
    """The tests' own tool: a make that ends early must not look like one that was killed."""
    with pytest.raises(AssertionError, match="ended before"), tree.lingering("all", stage="infer"):
        pass
    with pytest.raises(AssertionError, match="in vain"):
        wait_for(lambda: False, seconds=0)
