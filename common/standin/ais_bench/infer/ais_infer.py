"""ais_infer.py, ais_bench's elder of 2022: other flags, another place for the summary, the same run."""
import argparse
import sys
import time
from pathlib import Path

from ais_bench.infer import arguments, benchmark
from standin import messages
from standin.messages import ToolError

# What the elder did without a flag for it: copies' times always shown, one warm-up, samples on the first axis.
FIXED = {
    "display_all_summary": True,
    "warmup_count": 1,
    "output_batchsize_axis": 0,
    "pipeline": False,
    "threads": 1,
}


def parser() -> argparse.ArgumentParser:
    it = argparse.ArgumentParser("ais_infer.py", description="Run an offline model on the stand-in of an NPU.")
    add, switch = it.add_argument, {"type": arguments.boolean, "nargs": "?", "const": True, "default": False}
    add("--model", "--om", "-m", type=arguments.model, required=True, help="the .om")
    add("--input", "-i", type=arguments.inputs, default=None, help="files or directories with commas")
    add("--output", "-o", default=None, help="where the dated result directory goes")
    add("--outfmt", choices=["NPY", "BIN", "TXT"], default="BIN", help="output file format")
    add("--loop", "-r", type=arguments.integer(1, 100_000), default=1, help="executions of each batch")
    add("--device", "--device_id", "-d", type=arguments.integer(0, 254), default=0, help="device id")
    add("--batchsize", type=arguments.integer(1, 4096), default=1, help="for the throughput; not guessed")
    add("--dymBatch", type=arguments.integer(0, 4096), default=0, help="batch gear")
    add("--dymHW", type=arguments.image_size, default=None, help="image size gear")
    add("--dymDims", type=arguments.shapes, default=None, help="dims gear, name:d,d;name2:d,d")
    add("--dymShape", type=arguments.shapes, default=None, help="shapes, name:d,d;name2:d,d")
    add("--outputSize", type=arguments.output_sizes, default=None, help="bytes for each output")
    add("--auto_set_dymshape_mode", help="one file a run, in the shape of its npy", **switch)
    add("--auto_set_dymdims_mode", help="one file a run, in the gear of its npy", **switch)
    add("--pure_data_type", choices=["zero", "random"], default="zero", help="made-up input without --input")
    add("--debug", help="describe the model and log each execution", **switch)
    add("--infer_queue_count", type=arguments.integer(1, 1000), default=20, help="accepted; the stand-in keeps 2 ahead")
    add("--run_mode", choices=["numpy", "files", "msame", "loop"], default="numpy", help="how inputs reach the device")
    for name in ("--profiler", "--dump"):
        add(name, help="not in the stand-in", **switch)
    add("--acl_json_path", default=None, help="not in the stand-in")
    return it


def main(argv: list[str] | None = None) -> int:
    messages.speak()
    args = parser().parse_args(argv)
    for name in ("profiler", "dump", "acl_json_path"):
        if getattr(args, name):
            raise ToolError(f"--{name}: not in the stand-in, which only runs models and times them; leave it out")
    args.output_dirname = time.strftime("%Y_%m_%d-%H_%M_%S")
    if args.output and (Path(args.output) / args.output_dirname).exists():
        raise ToolError(f"{args.output}/{args.output_dirname} exists: one run a second, or another --output")
    vars(args).update(FIXED)
    benchmark.run(args, benchmark.AIS_INFER)
    return 0


if __name__ == "__main__":
    sys.exit(messages.exit_code(main))
