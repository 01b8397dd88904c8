"""What each stage has noted that it read, beside what the kernel says that it opened; and what make makes of it, file by file."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import copied
from suite import lacks
from toytree import planned

MODELS = sorted(path.parent.name for path in Path(__file__).parents[2].glob("models/*/Makefile"))
FURTHER = {"bert_large_ner": ["ROUTE=torch_aie"]}
# A stage's command, and what that starts, runs in the stage's hidden folder: the kernel tells where each process stands.
OPENED = re.compile(r'^\d+ +open(?:at)?\(AT_FDCWD<(.+)/\.([^/]+)\.\d+\.new[^>]*>, .*, O_RDONLY[^,)]*\) = \d+<(/.+)>$')

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    if shutil.which("strace") is None:
        lacks("it takes strace")
    return copied(tmp_path_factory.mktemp("reads") / "npukit")


@pytest.fixture(scope="module")
def traced(checkout) -> dict[str, set[str]]:
    """Build every model under strace; return {stage: the files that its processes opened to read}."""
    opened: dict[str, set[str]] = {}
    for model in MODELS:
        trace = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-e", "trace=open,openat"]
        make(checkout, f"MODEL={model}", *FURTHER.get(model, []), "LOOP=3", "all",
             through=[*trace, "-o", str(checkout / "trace")])
        opened |= stages((checkout / "trace").read_text(errors="surrogateescape").splitlines())
    return opened


def make(checkout: Path, *arguments: str, through: list[str] | tuple = ()) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run([*through, "make", f"VENV={sys.prefix}", "ENGINE=none", *arguments], cwd=checkout,
                          env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def stages(lines: list[str]) -> dict[str, set[str]]:
    """Return what the processes of each stage opened to read; the runner's own reading is not the stage's."""
    opened: dict[str, set[str]] = {}
    for match in filter(None, map(OPENED.match, lines)):
        opened.setdefault(f"{match[1]}/{match[2]}", set()).add(match[3])
    return opened


def counted(paths: set[str], checkout: Path) -> set[str]:
    """Return the sources among what was opened: of the project and its data, compiled modules as their source.

    The observer itself, which every Python opens before it observes, is not what a stage reads.
    """
    sources = {importlib.util.source_from_cache(path) if "/__pycache__/" in path else path for path in paths}
    return {os.path.relpath(path, checkout) for path in sources
            if path.startswith(tuple(f"{checkout}/{name}/" for name in ("common", "models", "data")))
            and Path(path).is_file() and "/npuops/stage/audit/" not in path}


def noted(folder: str, checkout: Path) -> set[str]:
    """Return the files among the prerequisites that a stage wrote."""
    rule = (Path(folder) / "reads.mk").read_text().split(":\n")[0].split(": \\\n", 1)
    names = [line.strip(" \\") for line in rule[1].splitlines()] if len(rule) == 2 else []
    paths = [name.replace("$(DATA)", "data").replace("$(root)/", "")
             for name in names if not name.startswith("$(wildcard")]
    return {path for path in paths if (checkout / path).is_file()}


def test_a_stage_notes_exactly_what_it_opened(traced, checkout):
    assert len(traced) == 6 * len(MODELS) + 3 + 2, "six stages each; three edit graphs, and one has a route of two more"
    wrong = {}
    for folder, opened in traced.items():
        ours, kernel = noted(folder, checkout), counted(opened, checkout)
        if ours != kernel:
            wrong[folder] = {"missed": kernel - ours, "too much": ours - kernel}
    assert not wrong, json.dumps(wrong, indent=1, default=sorted)


AFTER = {"inputs": ["pth2onnx"], "pth2onnx": ["modify_onnx", "atc", "export_trace_model"], "modify_onnx": ["atc"],
         "atc": ["infer", "perf"],
         "infer": ["postprocess"], "perf": ["postprocess"], "export_trace_model": ["run_torch_aie"],
         "run_torch_aie": ["postprocess"]}


def later(stages: set[str], built: set[str]) -> set[str]:
    """Return these stages' folders and those of all stages after them."""
    todo, found = set(stages), set()
    while todo:
        folder = todo.pop()
        found.add(folder)
        model = re.search(r"/cpu/tiny/(\w+)/", folder)[1]
        todo |= {other for other in built - found
                 if f"/{model}/" in other and Path(other).name in AFTER.get(Path(folder).name, [])}
    return found


def test_a_touched_file_reruns_what_read_it_and_nothing_else(traced, checkout):
    """Every file of the project and its data, one at a time: make would run again the stages that opened it, and those after them."""
    read = {folder: counted(opened, checkout) for folder, opened in traced.items()}
    goal = [f"MODEL={' '.join(MODELS)}", "ROUTE=torch_aie", "LOOP=3", "-n", "all"]
    assert not planned(make(checkout, *goal)), "nothing is stale to begin with"
    wrong = {}
    for path in sorted(path for place in ("common", "models", "data")
                       for path in (checkout / place).rglob("*") if path.is_file()):
        if "__pycache__" in path.parts:
            continue
        name, stat = str(path.relative_to(checkout)), path.stat()
        path.touch()
        would = {f"{checkout}/out/cpu/tiny/{stage}" for stage in planned(make(checkout, *goal))}
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        expected = later({folder for folder, names in read.items() if name in names}, set(read))
        if would != expected:
            wrong[name] = {"too much": would - expected, "missed": expected - would}
    assert not wrong, json.dumps(wrong, indent=1, default=sorted)
