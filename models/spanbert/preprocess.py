#!/usr/bin/env python3
"""Turn SQuAD's questions and paragraphs into the model's three inputs, in windows.

README, "Prepare the data". Nothing is ever cut: a question longer than --max_query_length is refused.

Reads   --dev_file   dev-v1.1.json
        --model      a folder with the tokenizer: vocab.txt or tokenizer.json, and tokenizer_config.json;
                     npukit.corpus.wordpiece says what of it is honoured
Writes  --save_path  input_ids.npy segment_ids.npy input_mask.npy lengths.npy seq_lens.txt   as npukit.corpus.store has them
                     windows.npz windows.json   what later stages need of the windows; window_files.py has them
                     manifest.json   last of all
        with --batch_size N also what msame reads, and ais_bench where N is 1:
                     input_ids/0.bin segment_ids/0.bin input_mask/0.bin ...   int64 [N, max_seq_length], the last one filled up
Source  ModelZoo-PyTorch 8048313, ACL_PyTorch/contrib/nlp/SpanBERT/spanBert_preprocess.py
"""
import argparse
from pathlib import Path

import window_files
import windows
from npukit import command
from npukit.corpus import batches, gears, store
from npukit.errors import UserError


def main() -> None:
    args = options()
    corpus = windows.Corpus(windows.recipe_of(args))
    seq_lens = args.seq_len or gears.choose(corpus.lengths, args.gears, args.gear_cost, args.multiple_of, args.max_seq_length)
    description = corpus.description()
    batches.remove(args.save_path, [spec.name for spec in windows.INPUTS.values()], "*.bin")
    window_files.write(args.save_path, corpus, seq_lens, description)
    store.warn_of_unknown(description)
    if args.batch_size is not None:
        batches.write(args.save_path, args.batch_size, args.save_path, bins=True)
    print(f"{len(corpus.questions)} questions, {len(corpus.windows)} windows of {corpus.lengths.mean():.0f} word pieces on average")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    windows.add_options(parser)
    gears.add_options(parser, default=[])  # --max_seq_length, which may be given as well
    parser.add_argument("--batch_size", type=int, help="write whole batches for msame, as said above")
    parser.add_argument("--save_path", type=Path, default=Path("."), help="folder for the inputs")
    args = parser.parse_args()
    if args.seq_len == []:
        args.seq_len = [args.max_seq_length]
    if args.seq_len and args.seq_len[-1] > args.max_seq_length:
        raise UserError(f"--seq_len is {','.join(map(str, args.seq_len))}, the model takes {args.max_seq_length}")
    return args


if __name__ == "__main__":
    command.run(main)
