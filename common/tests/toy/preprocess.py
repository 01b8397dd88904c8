"""Lines of `class 1 2 3 4` -> numbers/data_00000000.npy ... float32 [4], labels.txt, manifest.json."""
from pathlib import Path

import numpy as np
import toy

from npukit import command, files
from npukit.corpus.samples import Input, SampleWriter


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, required=True, help="the classes, one a line")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    classes = args.vocab.read_text().split()
    samples, labels = SampleWriter(args.output, {"numbers": Input("numbers", "float32", (4,))}), []
    for line in args.data.read_text().splitlines():
        name, *numbers = line.split()
        samples.add(numbers=np.array(numbers, dtype=np.float32))
        labels.append(classes.index(name))
    toy.linger("preprocess")
    np.savetxt(args.output / "labels.txt", labels, fmt="%d")
    samples.finish({"name": args.data.name, "sha256": files.sha256(args.data), "samples": samples.count, "skipped": []})


if __name__ == "__main__":
    command.run(main)
