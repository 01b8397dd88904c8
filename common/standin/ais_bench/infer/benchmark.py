"""One device's run: load the model, warm up, execute every batch, write the outputs and the summary."""
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aclruntime
import numpy as np
from tqdm import tqdm

from ais_bench.infer import batches, results
from ais_bench.infer.batches import Batch
from standin.messages import ToolError, logger
from standin.runtime import Model, copies


@dataclass(frozen=True)
class Dialect:
    """Where ais_bench and ais_infer.py differ: how the batch size is called, and where the summary goes."""

    batch_size: str
    summary: Callable[[Path], Path]


@dataclass(frozen=True)
class Outcome:
    """What the parent of several devices is told; times in seconds since the epoch."""

    throughput: float
    start: float
    end: float


AIS_BENCH = Dialect("batchsize.mean", lambda directory: directory.with_name(f"{directory.name}_summary.json"))
AIS_INFER = Dialect("batchsize", lambda directory: directory / "sumary.json")


def run(
    args: Namespace, dialect: Dialect, threads: int | None = None, ready: Callable[[], None] = lambda: None
) -> Outcome:
    """Do what the command line says on one device; ready() is called between warm-up and start."""
    session = open_session(args, threads)
    model = session.model
    directory = output_directory(args)
    planned = batches.plan(args.input, model, one_per_run(args)) if args.input else [None]
    warm_up(args, model, planned[0])
    ready()
    start = time.time()
    batch_sizes = []
    with results.Writer(directory, args.outfmt, args.output_batchsize_axis) as writer:
        for batch, arrays in _with_progress(args, planned, model):
            batch_sizes += set_shape_of(args, model, arrays)
            writer.save(batch, model.infer(arrays, args.loop))
    end = time.time()
    batch_size = sum(batch_sizes) / len(batch_sizes) if batch_sizes else args.batchsize
    intervals = bool(args.pipeline or args.threads > 1)
    summary = results.summarise(model, batch_size, args.display_all_summary, dialect.batch_size, intervals)
    if directory:
        results.write_summary(dialect.summary(directory), writer.files, summary)
    session.finalize()
    return Outcome(summary["throughput"], start, end)


def open_session(args: Namespace, threads: int | None) -> aclruntime.InferenceSession:
    """The model on its device, its shapes set as the command line says, and args.batchsize known."""
    options = aclruntime.session_options()
    options.log_level = 1 if args.debug else 2
    session = aclruntime.InferenceSession(args.model, args.device, options, threads)
    if args.dymBatch:
        session.set_dynamic_batchsize(args.dymBatch)
    elif args.dymHW:
        session.set_dynamic_hw(*(int(n) for n in args.dymHW.split(",")))
    elif args.dymDims:
        session.set_dynamic_dims(args.dymDims)
    elif args.dymShape:
        session.set_dynamic_shape(args.dymShape)
    if args.outputSize:
        session.set_custom_outsize(args.outputSize)
    if args.batchsize is None:
        first = session.model.shapes[0]
        args.batchsize = first[0] if first else 1
        logger.info("try get model batchsize:%d", args.batchsize)
        if args.batchsize < 0 and not one_per_run(args):
            raise ToolError("dynamic batch om model detected, but dymbatch, dymdims or dymshape not set!")
    return session


def one_per_run(args: Namespace) -> bool:
    """Whether each file is a batch of its own that brings its shape."""
    return args.auto_set_dymshape_mode or args.auto_set_dymdims_mode


def output_directory(args: Namespace) -> Path | None:
    """Make and return <output>/<output_dirname or time>; None without --output."""
    if args.output is None:
        return None
    directory = Path(args.output) / (args.output_dirname or time.strftime("%Y_%m_%d-%H_%M_%S"))
    directory.mkdir(parents=True, exist_ok=True)
    logger.info("output path:%s", directory)
    return directory


def set_shape_of(args: Namespace, model: Model, arrays: list[np.ndarray]) -> list[int]:
    """In the auto modes, set the model to the arrays' shapes and return the batch size in a list."""
    if not one_per_run(args):
        return []
    text = model.shapes_text([array.shape for array in arrays])
    (model.set_shape if args.auto_set_dymshape_mode else model.set_dims)(text)
    return [arrays[0].shape[0]]


def warm_up(args: Namespace, model: Model, batch: Batch | None) -> None:
    """Execute the first batch args.warmup_count times and forget the times."""
    arrays = batches.read(batch) if batch else batches.made_up(model, args.pure_data_type)
    for _ in range(args.warmup_count):
        set_shape_of(args, model, arrays)
        model.infer(arrays)
    model.exec_times.clear()
    copies.reset()
    logger.info("warm up %d done", args.warmup_count)


def _with_progress(
    args: Namespace, planned: list[Batch | None], model: Model
) -> Iterator[tuple[Batch | None, list[np.ndarray]]]:
    """Each batch with its arrays, read ahead; a progress bar on stderr."""
    title = "Inference Processing full" if args.run_mode == "full" else f"Inference {args.run_mode} Processing"
    if planned == [None]:
        arrays = iter([batches.made_up(model, args.pure_data_type)])
    else:
        arrays = batches.ahead(batches.read, planned)
    return tqdm(zip(planned, arrays), title, len(planned))
