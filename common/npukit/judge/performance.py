"""How fast it was: what the inference tool measured on the corpus, and the original's pure inference beside it."""
import itertools
import re
from pathlib import Path

from npukit.errors import JobFailed, UserError
from npukit.files import aside, read_json, write_json

STABLE = 0.10  # windows whose rates differ by no more than this
WINDOWS = 3


def performance(summary: dict, stage: dict, samples: int, batch_size: int, pure: dict | None) -> dict:
    """Return the performance part from ais_bench's summary and the stage's record.

    device_per_s      samples by the device's own time, no copies; the filling of the last batch is not counted, which
                      ais_bench's own throughput does
    end_to_end_per_s  samples by the wall time of the whole inference command, files read and written
    windows           the device's rate in each third of the run; stable where they agree within 10 %
    """
    times = sorted(summary["npu_compute_time_list"])
    rates = window_rates(summary["npu_compute_time_list"], batch_size)
    return {
        "device_per_s": 1000 * samples / sum(times),
        "end_to_end_per_s": samples / stage["seconds"],
        "latency_ms": {"mean": sum(times) / len(times), **{f"p{q}": percentile(times, q) for q in (50, 90, 99)}},
        "windows": rates,
        "stable": len(rates) == WINDOWS and max(rates) - min(rates) <= STABLE * max(rates),
        "pure_inference": pure,
    }


def window_rates(times: list[float], batch_size: int) -> list[float]:
    """Return samples a second in each of three consecutive windows; none where there are fewer batches than windows."""
    if len(times) < WINDOWS:
        return []
    edges = [len(times) * i // WINDOWS for i in range(WINDOWS + 1)]
    return [1000 * batch_size * (end - begin) / sum(times[begin:end]) for begin, end in itertools.pairwise(edges)]


def percentile(ordered: list[float], q: int) -> float:
    """Return the smallest value that at least q percent of the values do not exceed."""
    return ordered[max(0, -(-len(ordered) * q // 100) - 1)]


def pure_inference(log: Path, loop: int) -> dict:
    """Return what the perf stage's log says: the tool's own line and its number (both spellings are read)."""
    if not log.is_file():
        raise UserError(f"{log} is not there; run the perf stage first")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in reversed(lines):
        if match := re.search(r"throughput 1000\*batchsize(?:\.mean)?\(.*?\)/NPU_compute_time\.mean\(.*?\): ([0-9.]+)",
                              line):
            return {"tool_line": line.strip(), "loop": loop, "samples_per_s": float(match[1])}
    raise UserError(f"{log} has no line with the tool's throughput; its end says: {' | '.join(lines[-3:])}")


def msame_summary(log: Path) -> dict:
    """Return what msame's log says in the form of ais_bench's summary; raise JobFailed where a run of it did not end well.

    The log may hold several runs, one a gear. msame exits with 0 after an option that it does not know.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    times = [float(time) for time in re.findall(r"^Inference time: ([0-9.e+-]+)ms$", text, re.M)]
    begun, ended = text.count("acl init success"), text.count("Execute sample success")
    if not times or begun != ended:
        raise JobFailed(f"msame did not end well; {log} ends in: {' | '.join(text.splitlines()[-3:])}")
    return {"npu_compute_time_list": times} | ({"standin": True} if "stand-in" in text else {})


def merge(parts: Path, output: Path) -> None:
    """Put the runs of several offline models together, in the order of their names as numbers.

    parts   <name>/ and <name>_summary.json of each run, as ais_bench left them; the outputs are moved away
    writes  output/, every run's outputs; <output>_summary.json: npu_compute_time_list and the infiles of filesinfo of all, in
            one order; standin where a part has it
    """
    summaries = sorted(parts.glob("*_summary.json"), key=lambda path: int(path.name.removesuffix("_summary.json")))
    if not summaries:
        raise UserError(f"{parts} holds no <length>_summary.json; run the infer stage again")
    with aside(output) as new:
        new.mkdir()
        for path in [path for summary in summaries
                     for path in (parts / summary.name.removesuffix("_summary.json")).iterdir()]:
            path.rename(new / path.name)
    whole = {"npu_compute_time_list": [], "filesinfo": {}}
    for run in map(read_json, summaries):
        whole["npu_compute_time_list"] += run["npu_compute_time_list"]
        for _, told in sorted(run["filesinfo"].items(), key=lambda each: int(each[0])):
            whole["filesinfo"][str(len(whole["filesinfo"]))] = {"infiles": told["infiles"]}
        whole |= {key: run[key] for key in run if key == "standin"}
    write_json(output.with_name(f"{output.name}_summary.json"), whole)
