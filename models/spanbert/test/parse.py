#!/usr/bin/env python3
"""Print the speed that an inference tool's log tells, or the accuracy in a result file of postprocess.py.

README, "Accuracy and speed". The original prints the chip's name before the speed; here the log may be the stand-in's.

Reads   --result-file  msame_bs<N>.txt, ais_bench's log, or result_bs<N>.json
Source  ModelZoo-PyTorch 031260b, ACL_PyTorch/contrib/nlp/SpanBERT/test/parse.py
"""
import re
from pathlib import Path

from npukit import command, files
from npukit.errors import UserError
from npukit.judge.performance import pure_inference

# msame writes "time:" for one set of files, "time :" for a folder; of one file there is no time without the first.
AVERAGE = re.compile(r"^Inference average time(?: without first time)? ?: ([0-9.]+) ms$", re.M)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--result-file", type=Path, default=Path("msame_bs1.txt"))
    parser.add_argument("--batch-size", type=int, default=1)
    args = parser.parse_args()
    if args.result_file.suffix == ".json":
        result = files.read_json(args.result_file)
        if not isinstance(result, dict) or not {"exact_match", "f1"} <= set(result):
            raise UserError(f"{args.result_file} has no exact_match and f1; postprocess.py --do_eval writes result/result_bs<N>.json")
        print(f"{args.result_file.stem.removeprefix('result_')} exact_match:{result['exact_match']} f1:{result['f1']}")
    else:
        print(f"bs{args.batch_size} fps:{speed(args.result_file, args.batch_size):.3f}")


def speed(log: Path, batch_size: int) -> float:
    """Return samples a second from either tool's log: msame's last average, which leaves the first run out where it can, or ais_bench's."""
    averages = AVERAGE.findall(log.read_text(encoding="utf-8", errors="replace"))
    return 1000 * batch_size / float(averages[-1]) if averages else pure_inference(log, loop=0)["samples_per_s"]


if __name__ == "__main__":
    command.run(main)
