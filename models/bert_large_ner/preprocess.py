#!/usr/bin/env python3
"""Turn CoNLL-2003's sentences into the model's three inputs.

README, "Prepare the data", step 2. Nothing is ever cut: recipes.py says how a long sentence is read.

Reads   --input_file           test.txt: four columns a word; conll2003.py has the format
        --model_name_from_hub  a Hugging Face directory: vocab.txt or tokenizer.json, and
                               tokenizer_config.json; npukit.corpus.wordpiece says what of it is honoured
Writes  --save_path
            input_ids.npy attention_mask.npy token_type_ids.npy lengths.npy   as npukit.corpus.store has them
            words.npy       int64 [W, 4]: each word's sentence, sample, place in it and true tag
            seq_lens.txt    the lengths that the graph is to be compiled for
            manifest.json   last of all
Source  ModelZoo-PyTorch 1a136bb, ACL_PyTorch/contrib/nlp/bert_large_NER/bin_create.py
"""
import argparse
from pathlib import Path

import numpy as np

import conll2003
import recipes
from npukit import command, files
from npukit.corpus import gears, store, wordpiece


def main() -> None:
    args = options()
    tokenizer = wordpiece.load(args.model_name_from_hub, "--model_name_from_hub")
    sentences = conll2003.read(args.input_file)
    longest = args.seq_len[-1] if args.seq_len else wordpiece.LONGEST
    samples = recipes.encode(args.input_file, sentences, tokenizer, args.recipe, longest)
    seq_lens = args.seq_len or gears.choose(
        np.array(list(map(len, samples.rows))), args.gears, args.gear_cost, args.multiple_of, wordpiece.LONGEST)
    args.save_path.mkdir(parents=True, exist_ok=True)
    np.save(args.save_path / "words.npy", samples.words)
    digest = files.sha256(args.input_file)
    corpus = {"name": args.input_file.name, "sha256": digest, "released": digest == conll2003.RELEASED,
              "samples": len(samples.rows), "skipped": [], "vocabulary": tokenizer.get_vocab_size(), "recipe": args.recipe,
              **conll2003.counts(sentences), "unknown_share": wordpiece.unknown_share(tokenizer, samples.rows)}
    store.write(args.save_path, recipes.INPUTS, samples.inputs(), seq_lens, corpus)
    store.warn_of_unknown(corpus)
    print(", ".join(f"{corpus[what]} {what}" for what in ("documents", "sentences", "tokens", "entities", "samples"))
          + ("" if corpus["released"] else f"; {args.input_file} is not the released CoNLL-2003"))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--input_file", type=Path, default="conll2003/test.txt", help="the test split")
    parser.add_argument("--model_name_from_hub", type=Path, default="bert-large-NER", help="the folder of the tokenizer's files")
    parser.add_argument("--recipe", choices=recipes.METRIC, default="npukit", help="word pieces, or whole words as the original has it")
    gears.add_options(parser, default="512", longest=wordpiece.LONGEST)
    parser.add_argument("--save_path", type=Path, default="bert_bin", help="folder for the inputs")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
