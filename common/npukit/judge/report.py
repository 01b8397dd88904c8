"""report.json: what was measured, where each number comes from, and what is judged on it.

One report per model, profile, chip and batch size. Measuring and judging are apart: postprocess writes the report
whether its gates pass or not; `make all` prints the table and fails on it.
"""
import argparse
import functools
import json
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from npukit.corpus.store import load
from npukit.errors import UserError
from npukit.files import read_json, sha256, write_json, write_text
from npukit.judge import provenance
from npukit.judge.fidelity import gates
from npukit.judge.ledger import Task
from npukit.judge.performance import performance, pure_inference

SCHEMA = Path(__file__).with_name("report.schema.json")
RUN_STAGES = ("modify_onnx", "atc", "infer", "perf")  # of one batch size, below its folder
KEPT_FP32 = ("force_fp32", "must_keep_origin_dtype", "origin")  # the --precision_mode and --precision_mode_v2 of atc that keep fp32


def add_options(parser: argparse.ArgumentParser, script: str) -> None:
    """Add the flags with which the makefile asks a postprocess.py for its report; original.json lies beside the script."""
    parser.set_defaults(original=Path(script).with_name("original.json"))
    parser.add_argument("--report", type=Path, help="write report.json here")
    parser.add_argument("--run", type=Path, help="out/<soc>/<profile>/<model>/bs<N>, the run that the report is about")
    parser.add_argument("--loop", type=int, default=100, help="repetitions of the pure inference in the perf stage")


def finish(args: argparse.Namespace, task: Task, answers: np.ndarray, metric: str, metrics: dict, predictions: Path | Iterable,
           seq_lens: list[int], routes: dict[str, dict] | None = None) -> None:
    """Judge a run's answers against PyTorch's and write the report that --report asks for.

    answers      float [samples, ...], what the task means by them
    metric       the name of the figure that is judged, a key of metrics
    predictions  the file of what the answers say; or what they say, for predictions.jsonl beside the report, a sample a line
    seq_lens     the lengths that the offline model was compiled for
    routes       others by which the same samples were run, see Run.report
    """
    run = Run(args.run)
    if not isinstance(predictions, Path):
        lines, predictions = map(json.dumps, predictions), args.report.with_name("predictions.jsonl")
        write_text(predictions, "".join(f"{line}\n" for line in lines))
    write(args.report, run.report(
        metric=metric, metrics=metrics, fidelity=task.compare(answers, load(run.export / "reference.npy")), seq_lens=seq_lens,
        original=read_json(args.original), loop=args.loop, predictions=predictions, routes=routes))


class Run:
    """One model, profile, chip and batch size: its stages' folders, those of all batch sizes beside it, and what their records say.

    raises  UserError for a folder in which no stage's record.json names the run
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.export = folder.parent / "pth2onnx"
        self.inputs = folder.parent / "inputs"
        told = [record["run"] for stage, record in self.records().items() if stage in RUN_STAGES and "run" in record]
        if not told:
            raise UserError(f"{folder} is not the folder of a run; expected bs<N> with stages whose record.json names the run. "
                            "If an older npukit made it, remove it and run make again")
        self.identity = told[0]  # model, soc, standin, profile, batch_size

    def records(self) -> dict[str, dict]:
        """Return what each stage ran and how long it took."""
        places = {"preprocess": self.inputs, "pth2onnx": self.export, **{stage: self.folder / stage for stage in RUN_STAGES}}
        return {stage: read_json(place / "record.json") for stage, place in places.items() if (place / "record.json").exists()}

    def precision(self) -> str:
        """Return the arithmetic of the offline model: fp32 on the CPU and where atc was told to keep it, else fp16."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--precision_mode", "--precision_mode_v2", nargs="?")
        told, _ = parser.parse_known_args(shlex.split(read_json(self.folder / "atc" / "record.json")["command"]))
        return "fp32" if self.identity["soc"] == "cpu" or told.precision_mode in KEPT_FP32 else "fp16"

    def standin(self, summary: dict) -> bool:
        """Return whether a stand-in made the numbers; refuse a run whose record says otherwise."""
        made, expected = "standin" in summary, self.identity["standin"]
        if made != expected:
            raise UserError(f"{self.folder} holds results of {'the stand-in' if made else 'the real tools'}, which do not belong "
                            "there; remove it and run make again")
        return made

    def report(self, *, metric: str, metrics: dict, fidelity: dict, seq_lens: list[int], original: dict, loop: int,
               predictions: Path, routes: dict[str, dict] | None = None) -> dict:
        """Return the report of this run, all that is the same for every model put together here.

        metric       the name of the figure that is judged, a key of metrics
        predictions  the file of the answers, whose digest shows whether they depend on the batch size
        routes       others by which the same samples were run, each with its command, backend, precision, samples_per_s,
                     metrics and fidelity (None where PyTorch's answers are to something else)
        """
        manifest, summary, records = read_json(self.inputs / "manifest.json"), self.summary(), self.records()
        inference = read_json(self.folder / "infer" / "record.json")
        weights, ledger = read_json(self.export / "weights.json"), self.ledger()
        reference, precision, routes = ledger[0]["metrics"], self.precision(), routes or {}
        pure = pure_inference(self.folder / "perf" / "log.txt", loop)
        judge = functools.partial(gates, metric="" if weights["kind"] == "random" else metric, reference=reference[metric])
        own_gates = judge(fidelity, precision, value=metrics[metric])
        return {
            "schema": 1, **self.identity, "standin": self.standin(summary), "precision": precision,
            "seq_lens": seq_lens, "samples": manifest["samples"],
            "weights": weights, "corpus": manifest["corpus"], "metric": metric,
            "metrics": metrics, "reference": reference, "fidelity": fidelity,
            "ledger": [*ledger, {"stage": "om", "metrics": metrics, "fidelity": fidelity}],
            "performance": performance(summary, inference, manifest["samples"], self.identity["batch_size"], pure),
            "original": original, "predictions_sha256": sha256(predictions),
            "gates": [*own_gates, *gates_of_routes(routes, metric, judge)],
            **({"routes": routes} if routes else {}), **self.fusions(),
            "provenance": provenance.provenance(records, {"manifest": self.inputs / "manifest.json",
                                                          "om": self.folder / "atc" / "model.om"}),
        }

    def ledger(self) -> list[dict]:
        """Return what the stages before the offline model wrote: torch, onnx, and what modify_onnx made of it."""
        modified = self.folder / "modify_onnx" / "ledger.json"
        return read_json(self.export / "ledger.json") + (read_json(modified) if modified.exists() else [])

    def fusions(self) -> dict[str, list[dict]]:
        """Return what ATC fuses at each length, as documents say, where graph surgery was for it; nothing of a CPU."""
        rows = self.folder / "modify_onnx" / "fusions.json"
        return {"fusions": read_json(rows)} if self.identity["soc"] != "cpu" and rows.exists() else {}

    def summary(self) -> dict:
        """Return the summary that ais_bench wrote beside the outputs."""
        return read_json(self.folder / "infer" / "outputs_summary.json")


def gates_of_routes(routes: dict[str, dict], metric: str, judge: Callable[..., list[dict]]) -> list[dict]:
    """Return the gates of the other routes, each under its route's name; a route without fidelity has none."""
    found = []
    for name, route in routes.items():
        if route["fidelity"]:
            judged = judge(route["fidelity"], route["precision"], value=route["metrics"][metric])
            found += [{**gate, "name": f"{name}: {gate['name']}"} for gate in judged]
    return found


def write(path: Path, report: dict) -> None:
    """Check a report against the schema and write it.

    passes is set here, from the gates: a report cannot say it passes while one of its gates does not.
    """
    report["passes"] = all(gate["passes"] for gate in report["gates"])
    validate(report, str(path))
    write_json(path, report)


def validate(report: dict, name: str) -> None:
    """Raise UserError where a report does not follow the schema."""
    import jsonschema

    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(report))
    if error is not None:
        raise UserError(f"{name} does not follow {SCHEMA.name}: {error.json_path}: {error.message}")


def read(paths: Iterable[Path]) -> list[dict]:
    """Return the reports of these files, each validated, in the order of the table."""
    reports = []
    for path in paths:
        report = read_json(path)
        validate(report, str(path))
        reports.append(report)
    return sorted(reports, key=lambda r: (r["model"], r["soc"], r["standin"], r["profile"], r["batch_size"]))


def disagreements(reports: list[dict]) -> list[str]:
    """Return one sentence for each group of reports whose answers depend on the batch size."""
    answers = {}
    for r in reports:
        key = (r["model"], chip(r), r["profile"], r["precision"], r["provenance"]["inputs"]["manifest"], r["weights"]["sha256"])
        answers.setdefault(key, {}).setdefault(r["predictions_sha256"], []).append(r["batch_size"])
    return [f"{model} on {where}, {profile}: the answers at batch sizes {' and '.join(map(str, groups.values()))} differ"
            for (model, where, profile, *_), groups in answers.items() if len(groups) > 1]


def chip(report: dict) -> str:
    """Return the chip as it is named in paths and tables."""
    return provenance.chip(report["soc"], report["standin"])
