"""report.json: what was measured, where each number comes from, and what is judged on it.

One report per model, profile, chip and batch size. Measuring and judging are apart: postprocess writes the report
whether its gates pass or not; `make all` prints the table and fails on it.
"""
import argparse
import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path

from npukit.corpus.store import much_unknown
from npukit.errors import UserError
from npukit.files import read_json, sha256, write_json
from npukit.judge.fidelity import gates
from npukit.judge.performance import performance, pure_inference
from npukit.judge.provenance import provenance

SCHEMA = Path(__file__).with_name("report.schema.json")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags with which the makefile asks a postprocess.py for its report."""
    parser.add_argument("--report", type=Path, help="write report.json here")
    parser.add_argument("--run", type=Path, help="out/<soc>/<profile>/<model>/bs<N>, the run that the report is about")
    parser.add_argument("--loop", type=int, default=100, help="repetitions of the pure inference in the perf stage")


class Run:
    """One model, profile, chip and batch size: out/<soc>[-standin]/<profile>/<model>/bs<N>, its stages' folders below."""

    def __init__(self, folder: Path):
        place = re.fullmatch(r".*/([^/]+?)(-standin)?/([^/]+)/([^/]+)/bs([1-9][0-9]*)", folder.absolute().as_posix())
        if place is None:
            raise UserError(f"{folder} is no run's folder; expected out/<soc>/<profile>/<model>/bs<N>")
        self.soc, twin, self.profile, self.model, batch_size = place.groups()
        self.twin, self.batch_size = twin is not None, int(batch_size)
        self.folder = folder
        self.export = folder.parent / "pth2onnx"
        self.inputs = folder.parent / "inputs"

    def records(self) -> dict[str, dict]:
        """Return what each stage ran and how long it took."""
        places = {"preprocess": self.inputs, "pth2onnx": self.export,
                  **{stage: self.folder / stage for stage in ("modify_onnx", "atc", "infer", "perf")}}
        return {stage: read_json(place / "record.json") for stage, place in places.items() if (place / "record.json").exists()}

    def precision(self) -> str:
        """Return the arithmetic of the offline model: fp32 on the CPU and where atc was told to keep it, else fp16."""
        command = read_json(self.folder / "atc" / "record.json")["command"]
        kept = re.search(r"--precision_mode(_v2)?[= ](force_fp32|must_keep_origin_dtype|origin)\b", command)
        return "fp32" if self.soc == "cpu" or kept else "fp16"

    def standin(self, summary: dict) -> bool:
        """Return whether a stand-in made the numbers; refuse a run whose place says otherwise."""
        made, expected = "standin" in summary, self.twin or self.soc == "cpu"
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
        reference, precision = ledger[0]["metrics"], self.precision()
        judged = "" if weights["kind"] == "random" else metric
        pure = pure_inference(self.folder / "perf" / "log.txt", loop)
        judge = functools.partial(gates, metric=judged, reference=reference[metric])
        return {
            "schema": 1, "model": self.model, "profile": self.profile, "soc": self.soc, "standin": self.standin(summary),
            "precision": precision, "batch_size": self.batch_size, "seq_lens": seq_lens, "samples": manifest["samples"],
            "weights": weights, "corpus": manifest["corpus"], "metric": metric,
            "metrics": metrics, "reference": reference, "fidelity": fidelity,
            "ledger": [*ledger, {"stage": "om", "metrics": metrics, "fidelity": fidelity}],
            "performance": performance(summary, inference, manifest["samples"], self.batch_size, pure),
            "original": original, "predictions_sha256": sha256(predictions),
            "gates": [*judge(fidelity, precision, value=metrics[metric]), *(
                {**gate, "name": f"{name}: {gate['name']}"} for name, route in (routes or {}).items() if route["fidelity"]
                for gate in judge(route["fidelity"], route["precision"], value=route["metrics"][metric]))],
            **({"routes": routes} if routes else {}), **self.fusions(),
            "provenance": provenance(records, {"manifest": self.inputs / "manifest.json",
                                               "om": self.folder / "atc" / "model.om"}),
        }

    def ledger(self) -> list[dict]:
        """Return what the stages before the offline model wrote: torch, onnx, and what modify_onnx made of it."""
        modified = self.folder / "modify_onnx" / "ledger.json"
        return read_json(self.export / "ledger.json") + (read_json(modified) if modified.exists() else [])

    def fusions(self) -> dict[str, list[dict]]:
        """Return what ATC fuses at each length, as documents say, where graph surgery was for it; nothing of a CPU."""
        rows = self.folder / "modify_onnx" / "fusions.json"
        return {"fusions": read_json(rows)} if self.soc != "cpu" and rows.exists() else {}

    def summary(self) -> dict:
        """Return the summary that ais_bench wrote beside the outputs."""
        return read_json(self.folder / "infer" / "outputs_summary.json")


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


def read_all(folder: Path) -> list[dict]:
    """Return every report under a folder (out/<chip>/<profile>/<model>/bs<N>/postprocess/report.json)."""
    return read(sorted(folder.glob("*/*/*/bs*/postprocess/report.json")))


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
    """Return the chip as it is named in paths and tables; a stand-in's name never reads like a chip's."""
    return report["soc"] + ("-standin" if report["standin"] and report["soc"] != "cpu" else "")


HEADINGS = ("model", "profile", "chip", "batch", "metric", "here", "PyTorch", "max diff",
            "samples/s", "perf/s", "original/s", "verdict")


LEGEND = ("samples/s: the corpus, files read and written; perf/s: made-up input, the device alone; both on the chip of their "
          "line (cpu, -standin: no NPU). original/s: the original README's, on Ascend310P3.")


LEDGER = ("stage", "metric", "cosine mean", "cosine min", "max diff", "flips", "not finite", "worst sample")


def ledger(report: dict) -> str:
    """Return a report's ledger as a table: what each form of the network scores, and how far it is from PyTorch."""
    rows = [LEDGER]
    for entry in report["ledger"]:
        f = entry["fidelity"]
        closeness = ("-",) * 6 if f is None else (
            f"{f['cosine_mean']:.7f}", f"{f['cosine_min']:.7f}", figure(f["max_abs"], ".1e"), figure(f["flips"], "d"),
            str(f["not_finite"]), str(f["worst_sample"]))
        rows.append((entry["stage"], task_metric(report, entry["metrics"]), *closeness))
    title = f"{report['model']}, {report['profile']}, {chip(report)}, batch size {report['batch_size']}: {report['metric']}"
    return f"{title}\n{aligned(rows)}"


def task_metric(report: dict, metrics: dict) -> str:
    """Return the task metric as it may be shown: n/a for random weights, whose answers are no answers; closeness always."""
    means = report["weights"]["kind"] != "random" or report["metric"] in report["fidelity"]
    return figure(metrics.get(report["metric"]), ".4f") if means else "n/a"


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Return rows of cells as a table, the first row its heading."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def table(reports: list[dict]) -> str:
    """Return the table of results, one line a report.

    here, PyTorch  the task metric of the artefact and of the fp32 reference; n/a for random weights
    samples/s      on the corpus, the whole inference command; perf/s on made-up input, the device alone, as the
                   original measures; original/s is the original's own figure for this batch size, on its chip, where the
                   network and the length are the original's
    Below it stands a warning for each text that the vocabulary hardly knows.
    """
    rows = [HEADINGS, *(row(report) for report in reports)]
    return "\n\n".join(["\n".join([aligned(rows), LEGEND, *warnings(reports)]), *routes(reports)])


def warnings(reports: list[dict]) -> list[str]:
    """Return a line for each text of which much is unknown to the vocabulary, whatever its reports' verdicts."""
    found = [(f"{report['model']}, {report['profile']}", much_unknown(report["corpus"])) for report in reports]
    return list(dict.fromkeys(f"WARNING: {text}: {warning}" for text, warning in found if warning))


def routes(reports: list[dict]) -> list[str]:
    """Return a table for each other route that reports hold: both routes' device rates on the corpus, and what each scores."""
    tables = []
    for name in sorted({name for report in reports for name in report.get("routes", {})}):
        rows = [("model", "profile", "chip", "batch", "om it/s", f"{name} it/s", f"{name}/om", "metric", "om", name, f"{name} ran as")]
        for report in reports:
            if other := report.get("routes", {}).get(name):
                om, rate = report["performance"]["device_per_s"], other["samples_per_s"]
                rows.append((report["model"], report["profile"], chip(report), str(report["batch_size"]), f"{om:.4f}", f"{rate:.4f}",
                             f"{rate / om:.4f}", report["metric"], task_metric(report, report["metrics"]),
                             task_metric(report, other["metrics"]), f"{other['precision']}, {other['backend']}"))
        tables.append(aligned(rows))
    return tables


def row(report: dict) -> tuple[str, ...]:
    metric, speed = report["metric"], report["performance"]
    failed = [gate["name"] for gate in report["gates"] if not gate["passes"]]
    difference = report["fidelity"]["max_abs"]
    return (report["model"], report["profile"], chip(report), str(report["batch_size"]), metric,
            task_metric(report, report["metrics"]), task_metric(report, report["reference"]),
            "not finite" if difference is None else figure(difference, ".1e"), figure(speed["end_to_end_per_s"], ".1f"),
            figure(speed["pure_inference"] and speed["pure_inference"]["samples_per_s"], ".1f"), figure(original_speed(report), "g"),
            "pass" if report["passes"] else "FAIL: " + ", ".join(failed))


SAME_SIZE = 0.02  # by which parameters may differ: a vocabulary or a head may, a layer of any of the models is more


def original_speed(report: dict) -> float | None:
    """Return the original's samples a second at this batch size, where the network's size and the length are the original's."""
    quoted, parameters = report["original"], report["weights"]["parameters"]
    comparable = (abs(parameters - quoted["parameters"]) <= SAME_SIZE * quoted["parameters"]
                  and report["seq_lens"] == [quoted.get("seq_len", report["seq_lens"][-1])])
    return next((r["throughput_per_s"] for r in quoted["rows"] if r["batch_size"] == report["batch_size"] and comparable), None)


def figure(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)
