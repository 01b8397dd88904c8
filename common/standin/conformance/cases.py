"""A case at work: it runs the tools and says what it sees, each time under a fact of facts.toml.

What differs from what is known is sorted by these rules, the first that fits:

    the version differs    another version is known (`other` in facts.toml) to do just that
    the chip lacks it      a command that has to succeed is refused as unknown, or is not there
    the stand-in is wrong  anything else: what was known, or guessed, is not so
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

VERSION, LACKS, WRONG = "the version differs", "the chip lacks it", "the stand-in is wrong"
CONFIRMED = "a chip has confirmed otherwise"
UNKNOWN = re.compile(r"unknown command line flag|unrecognized arguments|unknown paramenter|invalid choice|No module named|"
                     r"command not found|has no attribute|cannot import name|Error parameter")
NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(\.\d+)?(e[-+]?\d+)?")
COMPLAINT = re.compile(r"\[?(E[A-Z\d]\d{4}|ERROR)\b|\w*Error: |.*: error: ")
ATC = 'atc() { PATH="${ATC_PATH:-$PATH}" command atc "$@"; }'  # it runs the python3 that it finds, which must be CANN's own
TIMEOUT_S = 900  # for one command: atc's many gears take minutes on a small board
LONGEST = 300  # letters of what is shown of an answer


@dataclass(frozen=True)
class Fact:
    """What is known: in words, how surely (source, documented, reported, guess), from where, and how other versions differ
    ({version: pattern})."""

    says: str
    certainty: str
    source: str
    other: dict[str, str] = field(default_factory=dict)

    def sort(self, observed) -> dict[str, str]:
        """Return the class of a difference, and the version that is known to do so."""
        text = observed if isinstance(observed, str) else json.dumps(observed)
        for version, pattern in self.other.items():
            if re.search(pattern, text):
                return {"class": VERSION, "version": version}
        return {"class": LACKS if UNKNOWN.search(text) else WRONG}


class Differs(Exception):
    """The case cannot go on; what it saw is recorded."""


@dataclass
class Book:
    """What is known, what chips have shown, and what is seen now.

    facts   by name
    chips   for each chip its observations, by case, fact and the how manieth time
    results  a file that takes a JSON line for each observation as it is made, or None
    compiled  oms of earlier cases, by model and command
    """

    facts: dict[str, Fact]
    chips: list[dict[tuple, dict]]
    results: Path | None = None
    observations: list[dict] = field(default_factory=list)
    compiled: dict[tuple, Path] = field(default_factory=dict)

    def add(self, line: dict) -> None:
        """Note an observation; whatever ends the run, it is kept."""
        self.observations.append(line)
        if self.results:
            with open(self.results, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


class Case:
    """One case, in a folder of its own; $SOC in a command is the chip that atc compiles for."""

    def __init__(self, name: str, folder: Path, book: Book, soc: str):
        self.name, self.folder, self.book, self.soc = name, folder, book, soc
        self.command = ""  # the last one
        self.differences: list[dict] = []
        self.known: list[str] = []  # differences from a chip that were recorded as such

    def run(self, command: str) -> subprocess.CompletedProcess:
        """Run a bash command line in the case's folder; exit status 124 where nothing answers in time. It leaves no process."""
        self.command = command
        process = subprocess.Popen(["bash", "-c", f"{ATC}\nSOC={self.soc}\n{command}"], cwd=self.folder,
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                   start_new_session=True)
        try:
            said, complained = process.communicate(timeout=TIMEOUT_S)
            return subprocess.CompletedProcess(command, process.returncode, said, complained)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {TIMEOUT_S} s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def do(self, fact: str, command: str) -> subprocess.CompletedProcess:
        """Run a command that has to succeed; the case ends if it does not."""
        done = self.run(command)
        self.sees(fact, "done" if done.returncode == 0 else f"exit {done.returncode}: {complaint(done)}", "done")
        if done.returncode:
            raise Differs
        return done

    def python(self, fact: str, script: str):
        """Run a Python script that has to succeed, and return what it prints last, read as JSON."""
        (self.folder / "script.py").write_text(script)
        return json.loads(self.do(fact, "python3 script.py").stdout.splitlines()[-1])

    def atc(self, options: str = "", fact: str = "atc.compiles") -> Path:
        """Compile m.onnx, or copy what an earlier case made of the same model and options; return m.om."""
        command = f"atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC {options}".strip()
        made, key = self.folder / "m.om", ((self.folder / "m.onnx").read_bytes(), command)
        if key in self.book.compiled:
            shutil.copy2(self.book.compiled[key], made)
        else:
            self.do(fact, command)
            self.book.compiled[key] = shutil.copy2(made, self.folder / "compiled.om")
        return made

    def bench(self, flags: str, fact: str = "ais_bench.runs") -> subprocess.CompletedProcess:
        """Run ais_bench, which has to succeed."""
        return self.do(fact, f"python3 -m ais_bench {flags}")

    def infer(self, flags: str = "", **inputs: np.ndarray) -> list[np.ndarray]:
        """Run m.om once on these arrays, given in its inputs' order; return its outputs."""
        for name, array in inputs.items():
            np.save(self.folder / f"{name}.npy", array)
        shutil.rmtree(self.folder / "inferred", ignore_errors=True)
        files = ",".join(f"{name}.npy" for name in inputs)
        self.bench(f"--model m.om --input {files} --output . --output_dirname inferred --outfmt NPY {flags}")
        return [np.load(path) for path in sorted(self.folder.glob(f"inferred/{next(iter(inputs))}_*.npy"))]

    def sees(self, fact: str, observed, expected) -> None:
        """Compare what is seen with what is known: a value that is equal, or a text in which a compiled pattern is found."""
        known, pattern = self.book.facts[fact], expected if isinstance(expected, re.Pattern) else None
        same = bool(pattern.search(observed)) if pattern else observed == expected
        shown = self.shown(observed, masked=bool(pattern) or not same)
        line = {"case": self.name, "fact": fact, "says": known.says, "source": known.source,
                "certainty": known.certainty,
                "command": self.shown(self.command.replace("$SOC", self.soc)), "observed": shown, "same": same,
                "expected": f"/{pattern.pattern}/" if pattern else expected, **({} if same else known.sort(shown))}
        times = sum(self.name == seen["case"] and fact == seen["fact"] for seen in self.book.observations)
        self.book.add(line | {"time": times})
        if not same:
            self.differences.append(line)
        for chip in self.book.chips:
            if recorded := chip.get((self.name, fact, times)):
                self.replay(recorded, line)

    def replay(self, recorded: dict, line: dict) -> None:
        """Hold an observation beside what a chip has shown: what a chip confirmed is not given up."""
        if recorded["observed"] == line["observed"]:
            return
        if recorded["same"] and recorded["expected"] != line["expected"]:
            self.differences.append({**line, "expected": recorded["observed"], "class": CONFIRMED})
        if not recorded["same"] and recorded["class"] == WRONG:
            self.known.append(f"{line['fact']}: a chip shows {recorded['observed']!r}")

    def shown(self, value, masked: bool = False):
        """Return a text without this run's places, and without numbers where it is held beside another run's."""
        if not isinstance(value, str):
            return value
        value = value.replace(str(self.folder), ".")
        return (NUMBER.sub("#", value) if masked else value)[:LONGEST]


def complaint(done: subprocess.CompletedProcess) -> str:
    """Return what a failed command says: its last line that begins as an error, else its last one."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return ([line for line in lines if COMPLAINT.match(line)] or lines or ["nothing"])[-1]


def describe(line: dict) -> str:
    """Return a difference in five lines."""
    version = f" ({line['version']})" if "version" in line else ""
    return (f"{line['fact']}: {line['says']} [{line['certainty']}: {line['source']}]\n  {line['class']}{version}\n"
            f"  $ {line['command']}\n  expected {line['expected']!r}\n  observed {line['observed']!r}")
