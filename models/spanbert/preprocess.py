#!/usr/bin/env python3
"""Turn SQuAD's questions and paragraphs into the model's three inputs, in windows.

README, "Prepare the data". Nothing is ever cut: a question longer than --max_query_length is refused.

Reads   --dev_file   dev-v1.1.json
        --model      a folder with the tokenizer: vocab.txt or tokenizer.json, and tokenizer_config.json;
                     npukit.corpus.wordpiece says what of it is honoured
Writes  --save_path  input_ids.npy segment_ids.npy input_mask.npy   int64 [pieces], all windows behind one another; lengths.npy
                     recipe.json    what the windows were made of, for the stages that ask what the answers score
                     seq_lens.txt   the lengths that the graph is to be compiled for
                     manifest.json  last of all
        with --batch_size N also what msame reads, and ais_bench where N is 1:
                     input_ids/0.bin segment_ids/0.bin input_mask/0.bin ...   int64 [N, max_seq_length], the last one filled up
Source  ModelZoo-PyTorch 8048313, ACL_PyTorch/contrib/nlp/SpanBERT/spanBert_preprocess.py
"""
import argparse
from pathlib import Path

import windows
from npukit import command, files
from npukit.corpus import gears, ragged
from npukit.corpus.samples import warn_of_unknown


def main() -> None:
    args = options()
    corpus = windows.Corpus(windows.recipe_of(args))
    seq_lens = gears.chosen(args, corpus.lengths, args.max_seq_length)
    args.save_path.mkdir(parents=True, exist_ok=True)
    (args.save_path / "manifest.json").unlink(missing_ok=True)
    files.write_text(args.save_path / "seq_lens.txt", " ".join(map(str, seq_lens)) + "\n")
    windows.write_recipe(args.save_path, corpus.recipe)
    ragged.remove_batches(args.save_path, windows.DIRECTORIES.values())
    description = corpus.description()
    ragged.write(args.save_path, corpus.rows(), seq_lens, description, windows.DIRECTORIES)
    warn_of_unknown(description)
    if args.batch_size is not None:
        ragged.write_batches(args.save_path, args.batch_size, args.save_path, bins=True)
    print(f"{len(corpus.questions)} questions, {len(corpus.windows)} windows of {corpus.lengths.mean():.0f} word pieces on average")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    windows.add_options(parser)
    gears.add_options(parser, seq_len=None)
    parser.add_argument("--save_path", type=Path, default=Path("."), help="folder for the inputs")
    args = parser.parse_args()
    args.seq_len = args.seq_len or str(args.max_seq_length)
    return args


if __name__ == "__main__":
    command.run(main)
