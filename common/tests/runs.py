"""A run's folders without the run, for tests of what is made of them."""
import pytest

from npukit.files import read_json, write_json
from npukit.judge.report import Run, write

FIDELITY = {"against": "PyTorch fp32", "cosine_mean": 1.0, "cosine_min": 1.0, "max_abs": 1e-6, "tolerance": 1e-4,
            "argmax_agreement": 1.0, "clear_agreement": 1.0, "flips": 0, "not_finite": 0, "worst_sample": 0}
METRICS = {"f1": 0.7}
ORIGINAL = {"source": "a README", "parameters": 1000, "rows": [
    {"batch_size": 8, "chip": "Ascend310P3", "metrics": {"f1": 0.7}, "throughput_per_s": 479, "reference_metric": 0.7}]}
SUMMARY = {"npu_compute_time_list": [2.0, 2.0, 2.0], "standin": "0.1"}
THROUGHPUT = "[INFO] throughput 1000*batchsize.mean(8)/NPU_compute_time.mean(2.0): 4000.0\n"
ATC = "bash atc.sh graph.onnx model 8"


@pytest.fixture
def make_run(tmp_path):
    """Return a function that makes out/<chip>/<profile>/toy/bs8, all stages done, and returns the folder."""

    def make(chip="cpu", profile="tiny", kind="shipped", summary=SUMMARY, atc=ATC, bs=8, parameters=1000):
        folder = tmp_path / "out" / chip / profile / "toy" / f"bs{bs}"
        soc, standin = chip.removesuffix("-standin"), chip == "cpu" or chip.endswith("-standin")
        run = {"model": "toy", "soc": soc, "standin": standin, "profile": profile}
        for stage, command in {"../inputs": "preprocess.py", "../pth2onnx": "pth2onnx.py", "atc": atc,
                               "infer": "infer.sh",
                               "perf": "ais_bench", "postprocess": "postprocess.py"}.items():
            place = (folder / stage).resolve()
            write_json(place / "record.json",
                       {"command": command, "started": "2024-05-01T12:00:00+00:00", "seconds": 0.5,
                                               "run": {**run, "batch_size": None if stage.startswith("..") else bs}})
        run = Run(folder)
        corpus = {"name": "dev.json", "sha256": "0" * 64, "samples": 20, "skipped": []}
        write_json(run.inputs / "manifest.json", {"samples": 20, "inputs": {}, "corpus": corpus})
        write_json(run.export / "weights.json", {"kind": kind, "sha256": "1" * 64, "parameters": parameters})
        write_json(run.export / "ledger.json", [{"stage": "torch", "metrics": METRICS, "fidelity": None},
                                                {"stage": "onnx", "metrics": METRICS, "fidelity": FIDELITY}])
        write_json(folder / "infer" / "outputs_summary.json", summary)
        (folder / "perf" / "log.txt").write_text(THROUGHPUT)
        (folder / "atc" / "model.om").write_bytes(b"om")
        (folder / "postprocess" / "predictions.jsonl").write_text("[]\n")
        return folder

    return make


def report_of(folder, metrics=METRICS, fidelity=FIDELITY, routes=None):
    return Run(folder).report(metric="f1", metrics=metrics, fidelity=fidelity, seq_lens=[50], original=ORIGINAL,
                              loop=100,
                              predictions=folder / "postprocess" / "predictions.jsonl", routes=routes)


def written(folder, **figures):
    """Write a run's report as postprocess does, and read it back."""
    path = folder / "postprocess" / "report.json"
    write(path, report_of(folder, **figures))
    return read_json(path)
