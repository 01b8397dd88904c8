#!/usr/bin/env python3
"""Turn SST-2 sentences into the model's two inputs.

README, "Prepare the data", step 2. Nothing is ever cut: a sentence longer than the longest --seq_len is refused.

Reads   --text_file       dev.tsv: a header, then sentence, tab, label
        --tokenizer_path  a Hugging Face directory: vocab.txt or tokenizer.json, and
                          tokenizer_config.json; npukit.corpus.wordpiece says what of it is honoured
Writes  --save_path
            input_ids.npy attention_mask.npy lengths.npy   as npukit.corpus.store has them
            labels.json     the labels, 0 or 1, in the order of the corpus
            seq_lens.txt    the lengths that the graph is to be compiled for
            manifest.json   last of all
Source  ModelZoo-PyTorch 333774d, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/preprocess.py
"""
import argparse
from pathlib import Path

import numpy as np

import sst2
from npukit import command, files
from npukit.corpus import gears, store, wordpiece
from npukit.errors import BadSample


def main() -> None:
    args = options()
    tokenizer = wordpiece.load(args.tokenizer_path)
    sentences, rows = [], []
    for sentence, ids in command.progress(sst2.encode(args.text_file, tokenizer), "preprocess"):
        sentences.append(sentence)
        rows.append(ids)
    lengths = np.array([len(ids) for ids in rows])
    seq_lens = args.seq_len or gears.choose(lengths, args.gears, args.gear_cost, args.multiple_of, wordpiece.LONGEST)
    refuse_longer(args.text_file, sentences, lengths, seq_lens[-1])
    corpus = {"name": args.text_file.name, "sha256": files.sha256(args.text_file), "samples": len(rows), "skipped": [],
              "vocabulary": tokenizer.get_vocab_size(), "unknown_share": wordpiece.unknown_share(tokenizer, rows)}
    files.write_json(args.save_path / "labels.json", [sentence.label for sentence in sentences])
    inputs = {"input_ids": rows, "attention_mask": [[1] * len(ids) for ids in rows]}
    store.write(args.save_path, {name: store.Input(name) for name in inputs}, inputs, seq_lens, corpus)
    store.warn_of_unknown(corpus)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--text_file", type=Path, required=True, help="the validation set")
    parser.add_argument("--tokenizer_path", type=Path, required=True, help="the folder of the tokenizer's files")
    gears.add_options(parser, default="128", longest=wordpiece.LONGEST)
    parser.add_argument("--save_path", type=Path, required=True, help="folder for the inputs")
    return parser.parse_args()


def refuse_longer(path: Path, sentences: list[sst2.Sentence], lengths: np.ndarray, longest: int) -> None:
    """Raise BadSample for the first sentence that no length holds."""
    for sentence, length in zip(sentences, lengths):
        if length > longest:
            raise BadSample(path, sentence.line, f"the sentence has {length} word pieces, the longest --seq_len is {longest}; "
                                                 "it is never cut: raise --seq_len")


if __name__ == "__main__":
    command.run(main)
