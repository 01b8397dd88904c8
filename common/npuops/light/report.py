"""What first light found: facts.json for `make facts`, report.md for a colleague, and the tarball that holds them.

    CONTENTS.txt                 what is in the tarball
    report.md                    the whole in five minutes
    facts.json                   schema, chip, standin, versions, observations, costs
    reports/<run>.json           report.json of each model, batch size and kind
    logs/<step>.txt              the end of what each step printed

costs are milliseconds of the device for a sample: {model: {batch size: {length: ms}}}.
"""
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import numpy as np

from npukit import files
from npukit.columns import columns
from npukit.judge import provenance, report
from npukit.judge import table as tables
from npuops import places
from npuops.light import differences
from npuops.light.steps import DONE, Plan, profile_of
from npuops.light.tarball import Cleaner, pack

LOG_BYTES = 100_000  # of each log, its end
SLOWER = 1.5  # times a longer gear's cost: more than noise
MODULES = """
from importlib import metadata
for package in metadata.distributions():
    if package.name in ("ais_bench", "aclruntime"):
        print(package.name, package.version)
"""


def write(plan: Plan, records: list[dict]) -> Path:
    """Write the tarball from what there is so far; return its path."""
    observations = differences.read(plan.place / f"{cases}.jsonl" for cases in ("tools", "device"))
    chip, gears = reports(plan, plan.out, plan.standin), reports(plan, plan.gears, plan.standin)
    twin = [] if plan.standin else reports(plan, plan.out, standin=True)
    facts = {"schema": 1, "chip": plan.chip, "soc": plan.soc, "standin": plan.standin, "versions": versions(plan),
             "costs": costs(plan), "observations": observations}
    runs = {**name_reports(chip), **name_reports(gears, "-gears"), **name_reports(twin, "-twin")}
    members = {"report.md": markdown(facts, records, chip, gears, twin),
               "facts.json": as_json(facts), **{f"reports/{name}.json": as_json(each) for name, each in runs.items()},
               **logs(plan)}
    path = plan.place.with_name(f"first-light-{plan.chip}.tar.gz")
    files.write_text(plan.place / "report.md", members["report.md"])
    places = {plan.root: ".", plan.root.resolve(): ".", plan.out: "out", plan.out.resolve(): "out"}
    pack(path, members, Cleaner(places, facts["versions"].values()))
    return path


def as_json(value) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def name_reports(found: list[dict], kind: str = "") -> dict[str, dict]:
    return {f"{r['model']}-{r['profile']}-bs{r['batch_size']}{kind}": r for r in found}


def logs(plan: Plan) -> dict[str, str]:
    """Return the end of each step's log, by the member's name."""
    paths = sorted(plan.place.glob("logs/*.txt"))
    return {f"logs/{path.name}": path.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace") for path in paths}


def reports(plan: Plan, out: Path, standin: bool) -> list[dict]:
    """Return the reports that there are of the plan's models and batch sizes, of the chip or of the stand-in in its place."""
    paths = [places.report_file(run_folder(plan, out, standin, model, n)) for model in plan.models
             for n in plan.batches]
    return report.read(filter(Path.exists, paths))


def run_folder(plan: Plan, out: Path, standin: bool, model: str, batch_size: int) -> Path:
    return places.run_folder(out, plan.soc, standin, profile_of(plan, model), model, batch_size)


# --- Versions -------------------------------------------------------------------------------------------------------------


def versions(plan: Plan) -> dict[str, str]:
    """Return the versions of CANN, driver, firmware, ais_bench, aclruntime, Python and npukit, as far as they can be found."""
    title = re.search(r"npu-smi (\S+).*Version: (\S+)", ask(plan, "npu-smi", "info"))
    npu = re.search(r"NPU ID *: *(\d+)", ask(plan, "npu-smi", "info", "-l"))
    board = ask(plan, "npu-smi", "info", "-t", "board", "-i", npu[1]) if npu else ""
    firmware = re.search(r"Firmware Version *: *(\S+)", board)
    found = {"npu_smi": title and title[1], "driver": title and title[2], "firmware": firmware and firmware[1],
             "cann": cann(plan),
             **dict(line.split() for line in ask(plan, "python3", "-c", MODULES).splitlines()),
             **{name: version for name, version in provenance.tool_versions().items()}}
    return {**{name: str(version) for name, version in found.items() if version}, "npukit": provenance.commit()
            or "unknown"}


def ask(plan: Plan, *command: str) -> str:
    """Return what a tool prints, or nothing where it is not there or does not answer."""
    own = plan.root / "common" / "standin"
    path = f"{own / 'bin'}:{os.environ['PATH']}" if plan.standin else os.environ["PATH"]
    tool = shutil.which(command[0], path=path)
    try:
        done = subprocess.run([tool or command[0], *command[1:]], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PATH": path})
        return done.stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def cann(plan: Plan) -> str | None:
    """Return CANN's version as its toolkit tells it; the stand-in's where that answers."""
    if plan.standin:
        return "standin"
    homes = [os.environ.get("ASCEND_TOOLKIT_HOME", ""), "/usr/local/Ascend/ascend-toolkit/latest",
             "/usr/local/Ascend/cann"]
    tells = ("version.cfg", "*/ascend_toolkit_install.info")
    for path in [file for home in filter(None, homes) for name in tells for file in Path(home).glob(name)]:
        if found := re.search(r"version[^=\n]*=\[?(?:[^:\n]*:)?([0-9][\w.]*)", path.read_text(errors="replace"), re.I):
            return found[1]
    return None


# --- Time per length --------------------------------------------------------------------------------------------------------


def costs(plan: Plan) -> dict[str, dict[str, dict[str, float]]]:
    """Return what a sample costs on the device, in milliseconds, by model, batch size and length; the median of the batches."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model, batch, out in itertools.product(plan.models, plan.batches, (plan.out, plan.gears)):
        path = run_folder(plan, out, plan.standin, model, batch) / "infer" / "outputs_summary.json"
        if path.exists():
            measured = {str(length): statistics.median(times) / batch for length, times in by_length(path).items()}
            found.setdefault(model, {}).setdefault(str(batch), {}).update(measured)
    return {model: {batch: dict(sorted(cost.items(), key=lambda each: int(each[0])))
                    for batch, cost in by_batch.items()}
            for model, by_batch in found.items()}


def by_length(summary: Path) -> dict[int, list[float]]:
    """Return the times of ais_bench's executions in milliseconds by the length, the second axis, of what was executed.

    Where every execution had a file of its own (gears) that file tells its length, else the files of one length all do. msame
    names no files: then there are none.
    """
    told = files.read_json(summary)
    times = told["npu_compute_time_list"]
    if "filesinfo" not in told:
        return {}
    inputs = [each["infiles"][0] for _, each in sorted(told["filesinfo"].items(), key=lambda item: int(item[0]))]
    inputs = inputs if len(inputs) == len(times) else inputs[:1] * len(times)
    found: dict[int, list[float]] = {}
    for name, time in zip(inputs, times):
        shape = np.load(summary.parent / name, mmap_mode="r").shape
        found.setdefault(shape[1] if len(shape) > 1 else shape[0], []).append(time)
    return found


# --- The report to read ----------------------------------------------------------------------------------------------------


def markdown(facts: dict, records: list[dict], chip: list[dict], gears: list[dict], twin: list[dict]) -> str:
    """Return the report that a colleague reads in five minutes."""
    groups = differences.differing(facts["observations"])
    what = "the stand-in in the chip's place: nothing here is a chip's" if facts["standin"] else "the chip itself"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    parts = [f"# First light: {facts['chip']}", f"On {what}. {versions}.", "## In short",
             in_short(groups, facts["observations"], records, [*chip, *gears]),
             "## Where the tools differ from what was known", fenced(differences.text(facts["observations"])),
             "## Results", fenced(tables.results(chip)) if chip else "None yet.",
             "## The same in gears", fenced(tables.results(gears)) if gears else "None yet.",
             "## Chip, twin and PyTorch",
             table("model, batch, metric, chip, twin, PyTorch, chip's max diff, twin's max diff", beside(chip, twin)),
             "## Pure inference beside the original's",
             table("model, batch, here/s, original/s, ratio", originals(chip)),
             "## Seconds to export and compile",
             table("model, batch, lengths, pth2onnx, modify_onnx, atc", compiling([*chip, *gears])),
             "## Milliseconds of the device for a sample, by length",
             table("model, batch, length, ms, note", lengths(facts["costs"])),
             "## Guesses that held", "\n".join(f"- {line}" for line in differences.confirmed(facts["observations"]))
             or "None yet.",
             "## Steps", table("step, device, status, seconds, why", [
                 (r["name"], "yes" if r["npu"] else "", r["status"], f"{r['seconds']:.0f}", r["why"] or "")
                 for r in records])]
    return "\n\n".join(parts) + "\n"


def in_short(groups: list, observations: list, records: list[dict], runs: list[dict]) -> str:
    """Return the four lines that matter."""
    counts = ", ".join(f"{sum(seen[0]['class'] == kind for seen in groups)} where {kind}"
                       for kind in differences.CLASSES)
    failed = ", ".join(f"{r['model']} at batch size {r['batch_size']}" for r in runs if not r["passes"])
    missing = [r["name"] for r in records if r["status"] != DONE]
    held = sum(r["seconds"] for r in records if r["npu"]) / 60
    return "\n".join([f"- {len(observations)} observations of the tools; {len(groups)} facts differ: {counts}.",
                      f"- {len(runs)} runs of models; {f'a gate is missed by {failed}' if failed else 'all pass their gates'}.",
                      f"- Steps not done: {', '.join(missing) or 'none'}.",
                      f"- The device was held for {held:.1f} minutes."])


def fenced(text: str) -> str:
    return f"```\n{text}\n```"


def table(heading: str, rows: list[tuple]) -> str:
    """Return a table, or a word where it has no rows."""
    return fenced(columns([tuple(heading.split(", ")),
                           *(tuple(map(str, row)) for row in rows)])) if rows else "None yet."


def beside(chip: list[dict], twin: list[dict]) -> list[tuple]:
    """Return the chip's figures beside those that the twin foretold and PyTorch's."""
    foretold = {(r["model"], r["profile"]): r for r in twin}
    rows = []
    for r in chip:
        t = foretold.get((r["model"], r["profile"]))
        figures = [tables.task_metric(of, of[kind]) if of else "-"
                   for of, kind in ((r, "metrics"), (t, "metrics"), (r, "reference"))]
        apart = (tables.figure(each and each["fidelity"]["max_abs"], ".1e") for each in (r, t))
        rows.append((r["model"], r["batch_size"], r["metric"], *figures, *apart))
    return rows


def originals(runs: list[dict]) -> list[tuple]:
    """Return the pure inference beside the original's figure, where network, length and chip are the original's; no CPU's."""
    rows = []
    for r in runs:
        quoted, pure = tables.original_speed(r), r["performance"]["pure_inference"]
        if quoted and pure and not r["standin"]:
            here = pure["samples_per_s"]
            rows.append((r["model"], r["batch_size"], f"{here:.1f}", f"{quoted:g}", f"{here / quoted:.2f}"))
    return rows


def compiling(runs: list[dict]) -> list[tuple]:
    return [(r["model"], r["batch_size"], " ".join(map(str, r["seq_lens"])),
             *(tables.figure(r["provenance"]["seconds"].get(stage), ".1f")
               for stage in ("pth2onnx", "modify_onnx", "atc"))) for r in runs]


def lengths(measured: dict) -> list[tuple]:
    """Return the costs as rows; a length that costs clearly more than a longer one is named."""
    rows = []
    for model, by_batch in measured.items():
        for batch, cost in by_batch.items():
            for length, ms in cost.items():
                longer = [other for other, its in cost.items() if int(other) > int(length) and ms > SLOWER * its]
                rows.append((model, batch, length, f"{ms:.3f}", f"slower than {', '.join(longer)}" if longer else ""))
    return rows


def try_write(plan: Plan, records: list[dict]) -> None:
    """Write the tarball after a step; what is wrong with it is said and stops nothing: the chip's hour goes on, the end says it again."""
    try:
        write(plan, records)
    except Exception as error:
        print(f"no tarball yet: {type(error).__name__}: {error}", flush=True)
