#!/usr/bin/env python3
"""Turn CLUENER sentences into the model's two inputs.

README, "Prepare the data", step 2: one id a character, filled up with [PAD], and a mask that tells which is which.

Reads   --data    dev.json, one sentence a line
        --vocab   vocab.txt, one token a line; it belongs to the weights. A folder with train.json, dev.json and
                  test.json stands for the vocabulary of the original's best-model.bin
Writes  --output  inputs/input_ids/data_00000000.npy ...    int64 [max_seq_len], 0 in the padding
                  inputs/input_mask/data_00000000.npy ...   int64 [max_seq_len], 1 for characters
                  label.txt       a JSON object a line: data_index, tags, lens, as the original's
                  manifest.json   the two inputs in graph order, the corpus and its digest, what was skipped
Source  ModelZoo-PyTorch b3af873, ACL_PyTorch/built-in/nlp/BiLSTM_CRF_PyTorch/bilstm_preprocess.py
"""
import json
from pathlib import Path

import numpy as np

import cluener
from npukit import command, files
from npukit.corpus.samples import Input, SampleWriter, warn_of_unknown


def main() -> None:
    args = options()
    vocabulary = cluener.Vocabulary.load(args.vocab)
    skipped, characters, unknown = [], 0, 0
    on_bad = skipped.append if args.on_bad_input == "skip" else None
    shape = (args.max_seq_len,)
    samples = SampleWriter(args.output, {"ids": Input("inputs/input_ids", "int64", shape),
                                         "mask": Input("inputs/input_mask", "int64", shape)})
    with open(args.output / "label.txt", "w", encoding="utf-8") as labels:
        for sentence in command.progress(cluener.read(args.data, args.max_seq_len, on_bad=on_bad), "preprocess"):
            label = {"data_index": samples.count, "tags": [sentence.tags], "lens": [len(sentence.text)]}
            labels.write(json.dumps(label) + "\n")
            ids = vocabulary.ids(sentence.text)
            characters, unknown = characters + len(ids), unknown + ids.count(cluener.UNK)
            samples.add(ids=padded(ids, args.max_seq_len),
                        mask=padded([1] * len(sentence.text), args.max_seq_len))
    corpus = {"name": args.data.name, "sha256": files.sha256(args.data), "vocabulary": len(vocabulary),
              "samples": samples.count + len(skipped), "skipped": [bad.brief for bad in skipped],
              "unknown_share": unknown / characters}
    samples.finish(corpus)
    warn_of_unknown(corpus)


def options():
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the text to infer")
    parser.add_argument("--max_seq_len", type=int, default=50, help="longest text the model takes; longer ones are refused")
    parser.add_argument("--output", type=Path, required=True, help="folder for the inputs")
    parser.add_argument("--vocab", type=Path, default=Path(__file__).with_name("weights") / "vocab.txt")
    parser.add_argument("--on_bad_input", choices=["stop", "skip"], default="stop", help="skip: count and list it instead")
    return parser.parse_args()


def padded(values: list[int], length: int) -> np.ndarray:
    """Return int64 [length]: the values, then zeros."""
    array = np.zeros(length, dtype=np.int64)
    array[:len(values)] = values
    return array


if __name__ == "__main__":
    command.run(main)
