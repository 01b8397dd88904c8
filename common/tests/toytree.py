"""A small checkout to try make's promises on: the front door, the library, the stand-in, and the toy as two models."""
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).with_name("toy")
SKIP = shutil.ignore_patterns("tests", "__pycache__", "*.egg-info", ".ruff_cache", ".pytest_cache")
STAGES = ["preprocess", "pth2onnx", "modify_onnx", "atc", "perf", "infer", "postprocess"]  # as a serial make takes them
LATER = {"preprocess": STAGES, "pth2onnx": STAGES[1:], "modify_onnx": STAGES[2:], "atc": STAGES[3:],
         "perf": ["perf", "postprocess"], "infer": ["infer", "postprocess"], "postprocess": ["postprocess"]}


def folder(stage: str, batch_size: int = 1) -> str:
    """Return a stage's folder below out/<soc>/<profile>/<model>."""
    return {"preprocess": "inputs", "pth2onnx": "pth2onnx"}.get(stage, f"bs{batch_size}/{stage}")


def folders(stages: list[str], model: str = "toy", batch_sizes=(1,)) -> set[str]:
    """Return the folders of stages, below out/<soc>/<profile>."""
    return {f"{model}/{folder(stage, n)}" for stage in stages for n in batch_sizes}


class Tree:
    """The checkout at `root`; nothing outside it is written, no package is installed, no engine is asked.

    The environment is the tests' own, under another name and with a version of its own. docker and podman are stubs
    that refuse; atc and npu-smi are found only where model.mk puts them.
    """

    def __init__(self, root: Path):
        self.root, self.out, self.tools = root, root / "out" / "cpu" / "tiny", root / "tools"
        self.spoilt = False  # whether a test has changed what was built

    def plant(self) -> None:
        """Fill the checkout."""
        self.path("common").mkdir(parents=True)
        self.path("docker").mkdir()
        for path in (*map(ROOT.joinpath, ("Makefile", "docker/engine.mk", "docker/run")), *filter(Path.is_file, ROOT.glob("common/*"))):
            shutil.copy2(path, self.path(path.relative_to(ROOT)))
        for name in ("npukit", "npuops", "standin"):
            shutil.copytree(ROOT / "common" / name, self.root / "common" / name, ignore=SKIP)
        for model in ("toy", "toy2"):
            shutil.copytree(TOY, self.root / "models" / model, ignore=SKIP)
        for name in ("modify_onnx.py", "infer.sh"):  # toy2 edits no graph, and takes the infer.sh that all share
            self.path("models/toy2", name).unlink()
        self.path("data/tiny/toy").mkdir(parents=True)
        shutil.copy2(TOY / "numbers.txt", self.path("data/tiny/toy/numbers.txt"))
        self.path("venv/bin").mkdir(parents=True)
        for name in ("python", "python3"):
            self.path("venv/bin", name).symlink_to(sys.executable)
        for name in ("lib", "pyvenv.cfg"):
            self.path("venv", name).symlink_to(Path(sys.prefix) / name)
        self.path("venv/ready").write_text("versions of the day\n")
        self.tools.mkdir()
        (self.tools / "python3").symlink_to(Path(sys.executable).resolve())
        for engine in ("docker", "podman"):
            self.tool(engine, "exit 1")

    def path(self, *names: str | Path) -> Path:
        return self.root.joinpath(*names)

    def tool(self, name: str, script: str) -> None:
        """Put a command first on PATH."""
        path = self.tools / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text()
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        self.path(name).write_text(text.replace(old, new))

    @contextmanager
    def changed(self, name: str, old: str = "", new: str = ""):
        """Have a file touched, or made, or edited; it is put back as it was, with its time."""
        path = self.path(name)
        before, stat = (path.read_bytes(), path.stat()) if path.exists() else (None, None)
        path.touch()
        if old:
            self.edit(name, old, new)
        try:
            yield path
        finally:
            path.unlink()
            if stat:
                path.write_bytes(before)
                path.chmod(stat.st_mode)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def environment(self, **more: str) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        path = [place for place in os.environ["PATH"].split(":")
                if not any((Path(place) / tool).exists() for tool in ("atc", "npu-smi"))]
        return {**keep, "PATH": ":".join([str(self.tools), *path]), "LC_ALL": "C.UTF-8", **more}

    def command(self, *arguments: str) -> list[str]:
        given = {argument.partition("=")[0] for argument in arguments}
        settings = {"VENV": str(self.path("venv")), "ENGINE": "none", "MODEL": "toy"}
        return ["make", *(f"{name}={value}" for name, value in settings.items() if name not in given), *arguments]

    def make(self, *arguments: str, fails: bool = False, cwd: Path | None = None, **environment: str) -> str:
        """Run make; return what it printed. It must succeed, or exit with 2 if it `fails`."""
        done = subprocess.run(self.command(*arguments), cwd=cwd or self.root, env=self.environment(**environment), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=600)
        assert done.returncode == (2 if fails else 0), done.stdout
        return done.stdout

    @contextmanager
    def lingering(self, *arguments: str, stage: str):
        """Have a make that stands still in the middle of a stage; it is killed at the end, with all that it started."""
        environment = self.environment(NPUKIT_TOY_LINGERS=stage)
        forever = ["LOOP=1000000000"] if stage == "perf" else []  # the one stage that is no script of the toy's
        sign = "log.txt" if stage == "perf" else "lingers"
        process = subprocess.Popen(self.command(*arguments, *forever), cwd=self.root, env=environment, start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            name = Path(folder(stage)).name
            wait_for(lambda: process.poll() is not None or any(self.out.rglob(f".{name}.*.new/{sign}")))
            assert process.poll() is None, f"make ended before it came to {stage}"
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            wait_for(self.idle)

    def idle(self) -> bool:
        """Return whether nobody holds a lock, that is, everybody is gone."""
        for lock in self.path("out/.locks").iterdir():
            with open(lock, "a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
        return True

    def files(self) -> dict[str, tuple[int, int]]:
        """Return every file with its number and time: what is written, moved or removed shows."""
        return {str(path.relative_to(self.root)): (stat.st_ino, stat.st_mtime_ns) for path in self.root.rglob("*")
                if not {"lib", "__pycache__", ".locks"} & set(path.parts) and path.is_file() and (stat := path.stat())}


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def ran(printed: str) -> set[str]:
    """Return the stages that a make ran, from its one line for each."""
    return set(re.findall(r"^ *[\d.]+ s  \S+/out/\w[^/]*/\w+/(\S+)$", printed, re.M))


def planned(printed: str) -> set[str]:
    """Return the stages that `make -n` would run."""
    return set(re.findall(r"npuops stage --into \S+/out/\w[^/]*/\w+/(\S+) ", printed))


def explained(printed: str) -> dict[str, str]:
    """Return the stages that `make why` calls stale, each with its reason."""
    return dict(re.findall(r"^(toy\S*)/[^/\s]+: (.+)$", printed, re.M))
