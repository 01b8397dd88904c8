#!/usr/bin/env python3
"""Turn held-out sentences of the 1-Billion-Word benchmark into ELMo's input: each word as 50 characters.

README, "Prepare the data", step 2. Opens the shards 0 to --file_num - 1 in order; those that are not there are named, on stderr
and in the manifest.

Reads   --file_path   a folder with news.en.heldout-000NN-of-00050
Writes  --save_path   data.txt, the sentences that are kept, one a line
        beside --bin_path, as npukit.corpus.store has them
            <bin_path>.npy  int32 [words, 50]
            lengths.npy     int64 [sentences], words
            seq_lens.txt    the lengths that the graph is to be compiled for
            manifest.json   last of all
Sentences longer than the longest --word_len are left out, and counted in the manifest.
Source  ModelZoo-PyTorch 2edbfb6, ACL_PyTorch/contrib/nlp/ELMo/elmo_preprocess.py
"""
import argparse
import sys
from pathlib import Path

import numpy as np

import characters
import lm1b
from npukit import command, files
from npukit.corpus import gears, store
from npukit.errors import UserError


def main() -> None:
    args = options()
    shards, missing = lm1b.shards(args.file_path, args.file_num)
    if missing:
        numbers = " ".join(name.split("-")[1] for name in missing)
        print(f"{args.file_path} has {len(shards)} of the first {args.file_num} shards; not there: {numbers}", file=sys.stderr)
    everything = list(lm1b.sentences(shards))
    sentences = [everything[i] for i in lm1b.spread(len(everything), args.sample or len(everything))]
    lengths = np.array([len(words) for words in sentences])
    seq_lens = args.word_len or gears.choose(lengths, args.gears, args.gear_cost, args.multiple_of)
    kept = [words for words in sentences if len(words) <= seq_lens[-1]]
    if not kept:
        raise UserError(f"none of {len(sentences)} sentences has at most {seq_lens[-1]} words; raise --word_len")
    corpus = {"name": args.file_path.name, "sha256": lm1b.digest(shards), "samples": len(kept), "skipped": missing,
              "sentences": len(everything), "sample": len(sentences), "longer": len(sentences) - len(kept),
              "recipe": args.recipe}
    files.write_text(args.save_path, "".join(f"{' '.join(words)}\n" for words in kept))
    rows = [characters.sentence_to_ids(words) for words in command.progress(kept, "preprocess")]
    filling = characters.PADDING if args.recipe == "original" else 0
    ids = store.Input(args.bin_path.name, "int32", (characters.CHARACTERS,), filling)
    store.write(args.bin_path.parent, {"input": ids}, {"input": rows}, seq_lens, corpus)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--file_path", type=Path, required=True, help="the folder of the shards")
    parser.add_argument("--save_path", type=Path, default="data.txt", help="the sentences that are kept")
    parser.add_argument("--bin_path", type=Path, default="bin_path", help="the inputs")
    parser.add_argument("--file_num", type=int, default=lm1b.SHARDS, help="how many shards, from 00000 on")
    gears.add_options(parser, default="8", flag="--word_len", count=4)
    parser.add_argument("--sample", type=int, help="take only so many sentences, evenly spread over the corpus")
    parser.add_argument("--recipe", choices=["exact", "original"], default="exact",
                        help="original: fill up with characters, which the network takes for words")
    args = parser.parse_args()
    if args.recipe == "original" and len(args.word_len or []) != 1:
        raise UserError("--recipe original has one length, and --word_len names another number of them; the original's is 8")
    if args.sample is not None and args.sample < 1:
        raise UserError(f"--sample is {args.sample}, expected 1 or more")
    return args


if __name__ == "__main__":
    command.run(main)
