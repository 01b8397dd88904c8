#!/usr/bin/env python3
"""Turn CoNLL-2003's sentences into the model's three inputs.

README, "Prepare the data", step 2. Nothing is ever cut: recipes.py says how a long sentence is read.

Reads   --input_file           test.txt: four columns a word; conll2003.py has the format
        --model_name_from_hub  a Hugging Face directory: vocab.txt or tokenizer.json, and
                               tokenizer_config.json; npukit.corpus.wordpiece says what of it is honoured
Writes  --save_path, with one length
            input_ids/data_00000000.npy ...       int64 [seq_len], [PAD] behind the sentence
            attention_mask/data_00000000.npy ...  int64 [seq_len]
            token_type_ids/data_00000000.npy ...  int64 [seq_len], all 0
        --save_path, with several lengths or auto (the best --gears of this corpus): samples of their own lengths, to be
        run in gears
            input_ids.npy attention_mask.npy token_type_ids.npy lengths.npy; with --batch_size also whole batches of one
            length each, input_ids/batch_00000.npy ..., and order.npy, which sample stands where
        words.npy     int64 [W, 4]: each word's sentence, sample, place in it and true tag
        seq_lens.txt  the lengths that the graph is to be compiled for
        manifest.json   last of all
Source  ModelZoo-PyTorch 1a136bb, ACL_PyTorch/contrib/nlp/bert_large_NER/bin_create.py
"""
import argparse
from pathlib import Path

import numpy as np

import conll2003
import recipes
from npukit import command, files
from npukit.corpus import gears, ragged, wordpiece
from npukit.corpus.samples import warn_of_unknown


def main() -> None:
    args = options()
    tokenizer = wordpiece.load(args.model_name_from_hub, "--model_name_from_hub")
    sentences = conll2003.read(args.input_file)
    longest = wordpiece.LONGEST if args.seq_len == "auto" else gears.chosen(args, np.array([0]), wordpiece.LONGEST)[-1]
    samples = recipes.encode(args.input_file, sentences, tokenizer, args.recipe, longest)
    seq_lens = gears.chosen(args, np.array(list(map(len, samples.rows))), wordpiece.LONGEST)
    args.save_path.mkdir(parents=True, exist_ok=True)
    np.save(args.save_path / "words.npy", samples.words)
    digest = files.sha256(args.input_file)
    corpus = {"name": args.input_file.name, "sha256": digest, "released": digest == conll2003.RELEASED,
              "samples": len(samples.rows), "skipped": [], "vocabulary": tokenizer.get_vocab_size(), "recipe": args.recipe,
              **conll2003.counts(sentences), "unknown_share": wordpiece.unknown_share(tokenizer, samples.rows)}
    ragged.write_inputs(args.save_path, samples.inputs(), seq_lens, corpus, args.batch_size)
    warn_of_unknown(corpus)
    print(", ".join(f"{corpus[what]} {what}" for what in ("documents", "sentences", "tokens", "entities", "samples"))
          + ("" if corpus["released"] else f"; {args.input_file} is not the released CoNLL-2003"))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--input_file", type=Path, default="conll2003/test.txt", help="the test split")
    parser.add_argument("--model_name_from_hub", type=Path, default="bert-large-NER", help="the folder of the tokenizer's files")
    parser.add_argument("--recipe", choices=recipes.METRIC, default="npukit", help="word pieces, or whole words as the original has it")
    gears.add_options(parser, seq_len="512")
    parser.add_argument("--save_path", type=Path, default="bert_bin", help="folder for the inputs")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
