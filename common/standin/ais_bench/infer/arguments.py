"""ais_bench's command line, as the newest tool takes it."""
import argparse
import re
from collections.abc import Callable
from pathlib import Path

from standin.messages import ToolError, logger

MAX_MODEL_BYTES = 10 * 2**30
MAX_INPUTS, MAX_OUTPUT_SIZES, MAX_DEVICES = 1024, 50_000, 256
SHAPES = re.compile(r"[^;]+:\d{1,5}(,\d{1,5}){0,6}(;[^;]+:\d{1,5}(,\d{1,5}){0,6})*;?")
NOT_HERE = (
    "profiler", "dump", "acl_json_path", "aipp_config", "energy_consumption", "backend", "perf", "dymShape_range",
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse and judge; exit 2 for a value that argparse refuses, ToolError for values that do not go together."""
    args = parser().parse_args(argv)
    for name in NOT_HERE:
        if getattr(args, name):
            raise ToolError(f"--{name}: not in the stand-in, which only runs models and times them; leave it out")
    if args.output is None and args.output_dirname is not None:
        logger.error("parameter --output_dirname cann't be used alone. Please use it together with --output!")
        raise ToolError("error bad parameters --output_dirname: give --output too")
    if args.run_mode == "files" and args.input is None:
        raise ToolError("--run_mode files not support pure infer: give --input")
    return args


def parser() -> argparse.ArgumentParser:
    """All flags of the newest tool; those that the stand-in lacks are refused by parse()."""
    it = argparse.ArgumentParser(prog="ais_bench", description="Run an offline model on the stand-in of an NPU.")
    _add_files(it)
    _add_shapes(it)
    add = it.add_argument
    add("--device", "-d", type=devices, default=0, help="device id, or several with commas: one process each")
    add("--divide_input", type=boolean, default=False, help="share the input among the devices")
    add("--loop", "-l", type=integer(1, 100_000), default=1, help="executions of each batch")
    add("--warmup_count", type=integer(0, 10_000), default=1, help="executions before the times are taken")
    add("--run_mode", choices=["array", "files", "tensor", "full"], default="array", help="how inputs reach the device")
    add("--pipeline", type=boolean, default=False, help="times as intervals; the stand-in always reads ahead")
    add("--threads", type=integer(1, 64), default=1, help="times as intervals; the stand-in executes in order")
    add("--debug", type=boolean, default=False, help="describe the model and log each execution")
    add("--display_all_summary", type=boolean, default=False, help="H2D and D2H times too")
    for flag in ("--profiler", "--dump", "--energy_consumption", "--perf"):
        add(flag, type=boolean, default=False, help="not in the stand-in")
    for flag in ("--acl_json_path", "--aipp_config", "--dymShape_range"):
        add(flag, default=None, help="not in the stand-in")
    add("--backend", choices=["trtexec"], default=None, help="not in the stand-in")
    add("--profiler_rename", type=boolean, default=True, help="accepted; there is no profiler")
    add("--dump_npy", type=boolean, default=False, help="accepted; there is no dump")
    add("--npu_id", type=integer(0, 65_535), default=0, help="accepted; there is no power to measure")
    return it


def _add_files(it: argparse.ArgumentParser) -> None:
    add = it.add_argument
    add("--model", "-m", type=model, required=True, help="the .om")
    add("--input", "-i", type=inputs, default=None, help="files or directories with commas, in the model's input order")
    add("--output", "-o", default=None, help="where the dated result directory goes")
    add("--output_dirname", type=relative, default=None, help="the result directory's name instead of the date")
    add("--outfmt", choices=["NPY", "BIN", "TXT"], default="BIN", help="output file format")
    add("--pure_data_type", choices=["zero", "random"], default="zero", help="made-up input without --input")
    add("--output_batchsize_axis", type=integer(0, 8), default=0, help="the outputs' batch axis")


def _add_shapes(it: argparse.ArgumentParser) -> None:
    add = it.add_argument
    add("--batchsize", type=integer(1, 4096), default=None, help="for the throughput; else the first input's first dim")
    add("--dymBatch", type=integer(0, 4096), default=0, help="batch gear")
    add("--dymHW", type=image_size, default=None, help="image size gear")
    add("--dymDims", type=shapes, default=None, help="dims gear, name:d,d;name2:d,d")
    add("--dymShape", type=shapes, default=None, help="shape of a dynamic_shape model, name:d,d;name2:d,d")
    add("--outputSize", type=output_sizes, default=None, help="bytes for each output of a dynamic_shape model")
    add("--auto_set_dymshape_mode", type=boolean, default=False, help="one file a run, in the shape of its npy")
    add("--auto_set_dymdims_mode", type=boolean, default=False, help="one file a run, in the gear of its npy")


def boolean(text: str) -> bool:
    if text.lower() in ("yes", "true", "t", "y", "1"):
        return True
    if text.lower() in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError("Boolean value expected true, 1, false, 0 with case insensitive.")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A type for whole numbers from low to high."""

    def whole_number(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is invalid. valid value range is [{low}, {high}]")
        return int(text)

    return whole_number


def devices(text: str) -> int | list[int]:
    """One device id, or a list of them."""
    ids = [integer(0, 255)(part) for part in text.split(",")]
    if len(ids) > MAX_DEVICES:
        raise argparse.ArgumentTypeError(f"{len(ids)} devices are given, expected at most {MAX_DEVICES}")
    return ids if "," in text else ids[0]


def model(text: str) -> str:
    path = Path(text)
    if path.suffix != ".om" or not path.is_file():
        raise argparse.ArgumentTypeError(f"om path:{text} is illegal: expected a file that ends with .om")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise argparse.ArgumentTypeError(f"om path:{text} is larger than {MAX_MODEL_BYTES} bytes")
    return text


def inputs(text: str) -> list[str]:
    paths = text.split(",")
    if len(paths) > MAX_INPUTS:
        raise argparse.ArgumentTypeError(f"{len(paths)} inputs are given, expected at most {MAX_INPUTS}")
    return paths


def relative(text: str) -> str:
    if Path(text).is_absolute():
        raise argparse.ArgumentTypeError(f"output_dirname:{text} is illegal: expected a relative path")
    return text


def shapes(text: str) -> str:
    if not SHAPES.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is illegal: expected name:d,d;name2:d,d with at most 7 dims each")
    return text


def image_size(text: str) -> str:
    if not re.fullmatch(r"\d{1,5},\d{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is illegal: expected height,width")
    return text


def output_sizes(text: str) -> list[int]:
    sizes = text.split(",")
    if len(sizes) > MAX_OUTPUT_SIZES or not all(size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is illegal: expected at most {MAX_OUTPUT_SIZES} sizes in bytes")
    return [int(size) for size in sizes]
