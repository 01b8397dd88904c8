"""What comes out: a file per sample and output, written while the engine works, and the summary of the times."""
import json
import os
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ais_bench.infer.batches import AHEAD, Batch
from standin import WATERMARK, arrays
from standin.messages import ToolError, logger
from standin.runtime import Model, copies

PURE_INFER = "pure_infer_data"  # the stem of pure inference's outputs, and its input's name in the summary


class Writer:
    """Splits each batch's outputs into samples and writes them in a background thread; a context manager.

    directory    where to, or None to write nothing
    form         NPY, BIN or TXT
    axis         the outputs' batch axis
    files        sample number -> {"infiles": [...], "outfiles": [...]}
    """

    def __init__(self, directory: Path | None, form: str, axis: int):
        self.directory, self.form, self.axis = directory, form, axis
        self.files: dict[int, dict[str, list[str]]] = {}
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, failed, *_) -> None:
        """Wait for the last file; a failure of the writing itself comes out here."""
        self._pool.shutdown(cancel_futures=failed is not None)
        while self._waiting and failed is None:
            self._waiting.popleft().result()

    def save(self, batch: Batch | None, outputs: list[np.ndarray]) -> None:
        """Write one batch's outputs, or those of pure inference (no batch), soon."""
        if self.directory is None:
            return
        self._waiting.append(self._pool.submit(self._write, batch, outputs))
        if len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def _write(self, batch: Batch | None, outputs: list[np.ndarray]) -> None:
        samples = list(zip(*batch.files)) if batch else [(Path(PURE_INFER),)]
        first, capacity = (batch.first_sample, batch.capacity) if batch else (0, 1)
        for index, output in enumerate(outputs):
            parts = self._split(output, capacity)
            for number, (infiles, part) in enumerate(zip(samples, parts), start=first):  # padding has no infiles
                path = self.directory / f"{infiles[0].name.split('.')[0]}_{index}.{self.form.lower()}"
                arrays.save(path, part)
                entry = self.files.setdefault(number, {"infiles": [str(file) for file in infiles], "outfiles": []})
                entry["outfiles"].append(str(path))

    def _split(self, output: np.ndarray, capacity: int) -> list[np.ndarray]:
        if capacity == 1:
            return [output]
        if self.axis >= output.ndim or output.shape[self.axis] % capacity:
            logger.error("save out files error array shape:%s files_count_perbatch:%d", output.shape, capacity)
            raise ToolError(
                f"an output of shape {list(output.shape)} cannot be split into {capacity} samples "
                f"on axis {self.axis}: choose another --output_batchsize_axis"
            )
        return np.split(output, capacity, self.axis)


def statistics(milliseconds: list[float]) -> dict[str, float]:
    """min, max, mean, median, percentile(99%) and count; zeros for no times at all."""
    values = milliseconds or [0.0]
    return {
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "percentile(99%)": float(np.percentile(values, 99)),
        "count": len(milliseconds),
    }


def summarise(model: Model, batch_size: float, show_copies: bool, label: str, intervals: bool) -> dict:
    """Log the performance summary and return it as the summary file's content.

    label        how the throughput line names the batch size
    intervals    as with --pipeline and --threads: means alone, and the list holds (start, end) pairs
    """
    compute_ms = [end - start for start, end in model.exec_times]
    times = {
        "H2D_latency": statistics(copies.h2d_ms),
        "NPU_compute_time": statistics(compute_ms),
        "D2H_latency": statistics(copies.d2h_ms),
    }
    mean = times["NPU_compute_time"]["mean"]
    throughput = 1000 * batch_size / mean if mean else 0.0
    logger.info("-----------------Performance Summary------------------")
    for name, values in times.items():
        if show_copies or name == "NPU_compute_time":
            numbers = ", ".join(f"{key} = {value}" for key, value in values.items() if key != "count")
            logger.info("%s (ms): %s", name, numbers)
    logger.info("throughput 1000*%s(%s)/NPU_compute_time.mean(%s): %s", label, batch_size, mean, throughput)
    logger.info("------------------------------------------------------")
    if intervals:
        times = {name: {"mean": values["mean"], "count": values["count"]} for name, values in times.items()}
    return {
        **times,
        "throughput": throughput,
        "npu_compute_time_list": model.exec_times if intervals else compute_ms,
        "pid": os.getpid(),
        "args": sys.argv,
        "standin": WATERMARK,
    }


def write_summary(path: Path, files: dict[int, dict[str, list[str]]], summary: dict) -> None:
    """Write the summary JSON, whole or not at all."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    aside.write_text(json.dumps({"filesinfo": files, **summary}))
    aside.replace(path)
