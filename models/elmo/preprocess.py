#!/usr/bin/env python3
"""Turn held-out sentences of the 1-Billion-Word benchmark into ELMo's input: each word as 50 characters.

README, "Prepare the data", step 2. Opens the shards 0 to --file_num - 1 in order; those that are not there are named, on stderr
and in the manifest.

Reads   --file_path   a folder with news.en.heldout-000NN-of-00050
Writes  --save_path   data.txt, the sentences that are kept, one a line
        --bin_path, with one --word_len: sentences of at most so many words, filled up to it
            data_00000000.npy ...  int32 [1, word_len, 50]
        beside --bin_path, with several lengths or auto (the best --gears of this corpus): sentences of their own lengths, to
        be run in gears
            <bin_path>.npy  int32 [words, 50]
        beside --bin_path, in both cases
            lengths.npy    int64 [sentences], words
            seq_lens.txt   the lengths that the graph is to be compiled for
            manifest.json  last of all
Source  ModelZoo-PyTorch 2edbfb6, ACL_PyTorch/contrib/nlp/ELMo/elmo_preprocess.py
"""
import argparse
import sys
from pathlib import Path

import numpy as np

import characters
import lm1b
from npukit import command, files
from npukit.corpus import gears, ragged
from npukit.corpus.samples import Input, SampleWriter
from npukit.errors import UserError


def main() -> None:
    args = options()
    shards, missing = lm1b.shards(args.file_path, args.file_num)
    if missing:
        numbers = " ".join(name.split("-")[1] for name in missing)
        print(f"{args.file_path} has {len(shards)} of the first {args.file_num} shards; not there: {numbers}", file=sys.stderr)
    everything = list(lm1b.sentences(shards))
    sentences = [everything[i] for i in lm1b.spread(len(everything), args.sample or len(everything))]
    costs = gears.read_costs(args.gear_cost) if args.gear_cost else None
    seq_lens = gears.parse(args.word_len, np.array([len(words) for words in sentences]), args.gears, costs, flag="--word_len")
    kept = [words for words in sentences if len(words) <= seq_lens[-1]]
    if not kept:
        raise UserError(f"none of {len(sentences)} sentences has at most {seq_lens[-1]} words; raise --word_len")
    corpus = {"name": args.file_path.name, "sha256": lm1b.digest(shards), "samples": len(kept), "skipped": missing,
              "sentences": len(everything), "sample": len(sentences), "longer": len(sentences) - len(kept),
              "recipe": args.recipe, "filling": characters.PADDING if args.recipe == "original" else 0}
    files.write_text(args.save_path, "".join(f"{' '.join(words)}\n" for words in kept))
    write(args.bin_path, kept, seq_lens, corpus)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--file_path", type=Path, required=True, help="the folder of the shards")
    parser.add_argument("--save_path", type=Path, default="data.txt", help="the sentences that are kept")
    parser.add_argument("--bin_path", type=Path, default="bin_path", help="the inputs")
    parser.add_argument("--file_num", type=int, default=lm1b.SHARDS, help="how many shards, from 00000 on")
    parser.add_argument("--word_len", default="8", help="a length in words, several with commas, or auto")
    parser.add_argument("--gears", type=int, default=4, help="how many lengths auto may choose")
    parser.add_argument("--gear_cost", type=Path, help='measured cost of a sentence by length, {"8": 1.9, "32": 7.1}; words if not given')
    parser.add_argument("--sample", type=int, help="take only so many sentences, evenly spread over the corpus")
    parser.add_argument("--recipe", choices=["exact", "original"], default="exact",
                        help="original: fill up with characters, which the network takes for words")
    args = parser.parse_args()
    if args.recipe == "original" and not args.word_len.isdecimal():
        raise UserError(f"--recipe original has one length, not --word_len {args.word_len}; the original's is 8")
    if args.sample is not None and args.sample < 1:
        raise UserError(f"--sample is {args.sample}, expected 1 or more")
    return args


def write(bin_path: Path, sentences: list[list[str]], seq_lens: list[int], corpus: dict) -> None:
    """Write the inputs, in place of those of a call before."""
    folder = bin_path.parent
    for old in (folder / "manifest.json", bin_path.with_name(f"{bin_path.name}.npy"), *bin_path.glob("data_*.npy")):
        old.unlink(missing_ok=True)
    rows = [characters.sentence_to_ids(words) for words in command.progress(sentences, "preprocess")]
    files.write_text(folder / "seq_lens.txt", " ".join(map(str, seq_lens)) + "\n")
    if len(seq_lens) > 1:
        ragged.write(folder, {bin_path.name: rows}, seq_lens, corpus)
        return
    np.save(folder / "lengths.npy", np.array([len(row) for row in rows]))
    samples = SampleWriter(folder, {bin_path.name: Input(bin_path.name, "int32", (1, seq_lens[0], characters.CHARACTERS))})
    for row in rows:
        padded = np.full((1, seq_lens[0], characters.CHARACTERS), corpus["filling"], dtype=np.int32)
        padded[0, :len(row)] = row
        samples.add(**{bin_path.name: padded})
    samples.finish(corpus)


if __name__ == "__main__":
    command.run(main)
