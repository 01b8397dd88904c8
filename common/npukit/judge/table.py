"""The tables that are printed of reports: results, other routes, the ledger of one."""
from npukit.columns import columns
from npukit.corpus.store import much_unknown
from npukit.judge.report import chip

HEADINGS = ("model", "profile", "chip", "batch", "metric", "here", "PyTorch", "max diff",
            "samples/s", "perf/s", "original/s", "verdict")
LEGEND = ("samples/s: the corpus, files read and written; perf/s: made-up input, the device alone; both on the chip of their "
          "line (cpu, -standin: no NPU). original/s: the original README's, on Ascend310P3.")
LEDGER = ("stage", "metric", "cosine mean", "cosine min", "max diff", "flips", "not finite", "worst sample")
SAME_SIZE = 0.02  # by which parameters may differ: a vocabulary or a head may, a layer of any of the models is more


def ledger(report: dict, colour: bool = False) -> str:
    """Return a report's ledger as a table: what each form of the network scores, and how far it is from PyTorch."""
    rows = [LEDGER]
    for entry in report["ledger"]:
        f = entry["fidelity"]
        closeness = ("-",) * 6 if f is None else (
            f"{f['cosine_mean']:.7f}", f"{f['cosine_min']:.7f}", figure(f["max_abs"], ".1e"), figure(f["flips"], "d"),
            str(f["not_finite"]), str(f["worst_sample"]))
        rows.append((entry["stage"], task_metric(report, entry["metrics"]), *closeness))
    title = f"{report['model']}, {report['profile']}, {chip(report)}, batch size {report['batch_size']}: {report['metric']}"
    return f"{title}\n{columns(rows, colour)}"


def task_metric(report: dict, metrics: dict) -> str:
    """Return the task metric as it may be shown: n/a for random weights, whose answers are no answers; closeness always."""
    means = report["weights"]["kind"] != "random" or report["metric"] in report["fidelity"]
    return figure(metrics.get(report["metric"]), ".4f") if means else "n/a"


def results(reports: list[dict], colour: bool = False) -> str:
    """Return the table of results, one line a report.

    here, PyTorch  the task metric of the artefact and of the fp32 reference; n/a for random weights
    samples/s      on the corpus, the whole inference command; perf/s on made-up input, the device alone, as the
                   original measures; original/s is the original's own figure for this batch size, on its chip, where the
                   network and the length are the original's
    Below it stands a warning for each text that the vocabulary hardly knows.
    """
    rows = [HEADINGS, *(row(report) for report in reports)]
    return "\n\n".join(["\n".join([columns(rows, colour), LEGEND, *warnings(reports)]), *routes(reports, colour)])


def warnings(reports: list[dict]) -> list[str]:
    """Return a line for each text of which much is unknown to the vocabulary, whatever its reports' verdicts."""
    found = [(f"{report['model']}, {report['profile']}", much_unknown(report["corpus"])) for report in reports]
    return list(dict.fromkeys(f"WARNING: {text}: {warning}" for text, warning in found if warning))


def routes(reports: list[dict], colour: bool = False) -> list[str]:
    """Return a table for each other route that reports hold: both routes' device rates on the corpus, and what each scores."""
    tables = []
    names = {name for report in reports for name in report.get("routes", {})}
    for name in sorted(names):
        rows = [("model", "profile", "chip", "batch", "om it/s", f"{name} it/s", f"{name}/om", "metric", "om", name,
                 f"{name} ran as")]
        for report in reports:
            if other := report.get("routes", {}).get(name):
                om, rate = report["performance"]["device_per_s"], other["samples_per_s"]
                rows.append((report["model"], report["profile"], chip(report), str(report["batch_size"]), f"{om:.4f}",
                             f"{rate:.4f}",
                             f"{rate / om:.4f}", report["metric"], task_metric(report, report["metrics"]),
                             task_metric(report, other["metrics"]), f"{other['precision']}, {other['backend']}"))
        tables.append(columns(rows, colour))
    return tables


def row(report: dict) -> tuple[str, ...]:
    """Return a report's line in the table of results."""
    metric, speed = report["metric"], report["performance"]
    failed = [gate["name"] for gate in report["gates"] if not gate["passes"]]
    difference = report["fidelity"]["max_abs"]
    return (report["model"], report["profile"], chip(report), str(report["batch_size"]), metric,
            task_metric(report, report["metrics"]), task_metric(report, report["reference"]),
            "not finite" if difference is None else figure(difference, ".1e"), figure(speed["end_to_end_per_s"], ".1f"),
            figure(speed["pure_inference"] and speed["pure_inference"]["samples_per_s"], ".1f"),
            figure(original_speed(report), "g"),
            "pass" if report["passes"] else "FAIL: " + ", ".join(failed))


def original_speed(report: dict) -> float | None:
    """Return the original's samples a second at this batch size, where the network's size and the length are the original's."""
    quoted, parameters = report["original"], report["weights"]["parameters"]
    comparable = (abs(parameters - quoted["parameters"]) <= SAME_SIZE * quoted["parameters"]
                  and report["seq_lens"] == [quoted.get("seq_len", report["seq_lens"][-1])])
    return next((r["throughput_per_s"]
                 for r in quoted["rows"] if r["batch_size"] == report["batch_size"] and comparable), None)


def figure(value: float | None, form: str) -> str:
    """Return a number as text, n/a for None."""
    return "n/a" if value is None else format(value, form)
