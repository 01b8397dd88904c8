"""python3 -m ais_bench"""
import os
import sys

from ais_bench.infer import arguments, benchmark, devices
from standin import messages


def main() -> int:
    messages.speak()
    args = arguments.parse()
    os.umask(0o027)  # as the newest tool: directories 0750, files 0640
    if isinstance(args.device, list):
        return devices.run(args)
    benchmark.run(args, benchmark.AIS_BENCH)
    return 0


if __name__ == "__main__":
    sys.exit(messages.exit_code(main))
