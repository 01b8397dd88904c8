"""msame: run an .om on .bin files, file by file."""
import argparse
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from standin import arrays, messages
from standin.messages import ToolError, logger
from standin.runtime import Model, nbytes, open_device

SHAPES = ("dymBatch", "dymHW", "dymDims", "dymShape")


class BadOption(Exception):
    """A command line that msame refuses, with exit code 0; the text is the log line."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise BadOption("unknown paramenter")


def parser() -> argparse.ArgumentParser:
    it = Parser("msame", description="Run an offline model on .bin files.", allow_abbrev=True)
    add = it.add_argument
    add("--model", required=True, help="model file path")
    add("--input", default="", help=".bin files or directories with commas, in the model's input order")
    add("--output", required=True, help="output path; the results go to a dated directory in it")
    add("--outfmt", default="BIN", help="TXT or BIN")
    add("--loop", type=int, default=1, help="executions, 1 to 100; not for directories")
    add("--device", type=int, default=0, help="device id, 0 to 255")
    add("--debug", default="false", help="describe the model, true or false")
    add("--profiler", default="false", help="not in the stand-in")
    add("--dump", default="false", help="not in the stand-in")
    add("--dymBatch", type=int, default=0, help="batch gear, 1 to 2048")
    add("--dymHW", help="not in the stand-in")
    add("--dymDims", help="dims gear, name:d,d;name2:d,d")
    add("--dymShape", help="shapes, name:d,d;name2:d,d; needs --outputSize")
    add("--outputSize", help="bytes for each output with commas")
    return it


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse; BadOption for what msame refuses with exit code 0, ToolError for options that do not go together."""
    args = parser().parse_args(argv)
    if ".om" not in args.model:
        raise BadOption("input model file type is not .om , please check your model type!")
    for name, low, high in (("loop", 1, 100), ("device", 0, 255), ("dymBatch", 0, 2048)):
        if not low <= getattr(args, name) <= high:
            raise BadOption(f"{name} must in {low} to {high}")
    if sum(bool(getattr(args, name)) for name in SHAPES) > 1:
        raise _failed("dymBatch dymDims dymHW dymShape cannot be set at the same time")
    for name in ("profiler", "dump", "dymHW"):
        if getattr(args, name) not in (None, "false"):
            raise _failed(f"--{name}: the stand-in has no such thing; leave it out")
    if args.dymShape and not (args.input and args.outputSize):
        raise _failed("--dymShape needs --input and --outputSize")
    return args


@dataclass
class Run:
    """One model at work, its results going to one directory."""

    model: Model
    directory: Path
    suffix: str  # bin or txt
    times_ms: list[float]

    def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        outputs = self.model.execute(inputs)
        start, end = self.model.exec_times[-1]
        self.times_ms.append(end - start)
        print(f"Inference time: {end - start:g}ms", flush=True)
        return outputs

    def save(self, stem: str, outputs: list[np.ndarray]) -> None:
        for index, output in enumerate(outputs):
            arrays.save(self.directory / f"{stem}_output_{index}.{self.suffix}", output)
        logger.info("output data success")

    def files(self, paths: list[Path], loop: int) -> None:
        """One set of input files, or zeros for none, `loop` times."""
        for path in paths:
            logger.info("start to process file:%s", path)
        inputs = [_read(path) for path in paths] or [
            np.zeros(shape, tensor.dtype) for tensor, shape in zip(self.model.inputs, self.model.shapes)
        ]
        for _ in range(loop):
            outputs = self.execute(inputs)
        self.save(Path(self.model.path).stem, outputs)
        print(f"Inference average time: {np.mean(self.times_ms):f} ms")
        if loop > 1:
            print(f"Inference average time without first time: {np.mean(self.times_ms[1:]):f} ms")

    def directories(self, paths: list[Path]) -> None:
        """Every file of the first directory, with the files of the same name in the others."""
        names = sorted(path.name for path in paths[0].iterdir() if not path.name.startswith("."))
        if not names:
            raise _failed(f"No file in the directory[{paths[0]}]")
        for name in names:
            for path in paths:
                logger.info("start to process file:%s/%s", path, name)
            self.save(name.rpartition(".")[0] or name, self.execute([_read(path / name) for path in paths]))
        print(f"Inference average time : {np.mean(self.times_ms):.2f} ms")
        if len(names) > 1:
            print(f"Inference average time without first time: {np.mean(self.times_ms[1:]):.2f} ms")


def process(args: argparse.Namespace) -> None:
    """Load, run and unload, with msame's log lines in msame's order."""
    model = Model(args.model)
    logger.info("load model %s success", args.model)
    logger.info("create model description success")
    _set_shapes(model, args)
    if args.debug == "true":
        for title, tensors in (("input", model.inputs), ("output", model.outputs)):
            for index, tensor in enumerate(tensors):
                size = nbytes(tensor.shape, tensor.dtype)
                logger.debug("%s[%d] name:%s dims:%s size:%d", title, index, tensor.name, list(tensor.shape), size)
    directory = Path(args.output) / _time_line(datetime.now())
    directory.mkdir(parents=True)
    print(directory, flush=True)
    run = Run(model, directory, "txt" if args.outfmt == "TXT" else "bin", [])
    paths = [Path(path.strip()) for path in args.input.split(",")] if args.input else []
    if paths and ".bin" not in str(paths[0]):
        missing = [path for path in paths if not path.is_dir()]
        if missing:
            raise _failed(f"{missing[0]} is no directory and no .bin file")
        run.directories(paths)
    else:
        run.files(paths, args.loop)
    logger.info("unload model success, model Id is 1")


def _set_shapes(model: Model, args: argparse.Namespace) -> None:
    if args.dymBatch:
        model.set_batch(args.dymBatch)
    elif args.dymDims:
        model.set_dims(args.dymDims)
    elif args.dymShape:
        model.set_shape(args.dymShape)
        model.set_outsizes([int(size) for size in args.outputSize.split(",")])
    elif model.om.gears:
        raise _failed(f"model has {model.om.mode}, please add dymBatch or dymDims parameter")


def _read(path: Path) -> np.ndarray:
    """The file's bytes, uint8."""
    if not path.is_file():
        raise _failed(f"open file {path} failed")
    data = np.fromfile(path, np.uint8)
    if data.size == 0:
        raise _failed(f"binfile is empty, filename is {path}")
    return data


def _time_line(now: datetime) -> str:
    """The moment's numbers side by side, not padded with zeros."""
    return "".join(str(n) for n in (*now.timetuple()[:6], now.microsecond))


def _failed(sentence: str) -> ToolError:
    logger.error(sentence)
    return ToolError(sentence)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, also for a bad option as in msame itself; 1 when the processing failed."""
    messages.speak()
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        messages.speak(args.debug == "true")
        messages.announce()
        logger.info("acl init success")
        open_device(args.device)
        logger.info("open device %d success", args.device)
        for step in ("create context success", "create stream success", "get run mode success"):
            logger.info(step)
        process(args)
    except BadOption as bad:
        logger.error(str(bad))
        logger.error("Execute sample failed")
        parser().print_help()
        return 0
    except ToolError as error:
        logger.error("Sample process failed")
        print(f"msame: {error}", file=sys.stderr)
        return 1
    for end in ("destroy stream", "destroy context", f"reset device is {args.device}", "finalize acl"):
        logger.info("end to %s", end)
    logger.info("pid: %d Execute sample success", os.getpid())
    return 0
