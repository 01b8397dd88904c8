"""Lines of `class 1 2 3 4` -> numbers.npy, lengths.npy (all are 4), labels.txt, manifest.json."""
from pathlib import Path

import numpy as np
import toy

from npukit import command, files
from npukit.corpus import store


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, required=True, help="the classes, one a line")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    classes = args.vocab.read_text().split()
    rows, labels = [], []
    for line in args.data.read_text().splitlines():
        name, *numbers = line.split()
        rows.append(np.array(numbers, dtype=np.float32))
        labels.append(classes.index(name))
    np.savetxt(args.output / "labels.txt", labels, fmt="%d")
    toy.linger("preprocess")
    store.write(args.output, {"numbers": store.Input("numbers", "float32")}, {"numbers": rows}, [4],
                {"name": args.data.name, "sha256": files.sha256(args.data), "samples": len(rows), "skipped": []})


if __name__ == "__main__":
    command.run(main)
