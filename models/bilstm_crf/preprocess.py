#!/usr/bin/env python3
"""Turn CLUENER sentences into the model's two inputs.

README, "Prepare the data", step 2: one id a character, and a mask that is 1 for each.

Reads   --data    dev.json, one sentence a line
        --vocab   vocab.txt, one token a line; it belongs to the weights. A folder with train.json, dev.json and
                  test.json stands for the vocabulary of the original's best-model.bin
Writes  --output  input_ids.npy input_mask.npy lengths.npy seq_lens.txt   as npukit.corpus.store has them
                  label.txt       a JSON object a line: data_index, tags, lens, as the original's
                  manifest.json   last: the two inputs in graph order, the corpus and its digest, what was skipped
Source  ModelZoo-PyTorch b3af873, ACL_PyTorch/built-in/nlp/BiLSTM_CRF_PyTorch/bilstm_preprocess.py
"""
import json
from pathlib import Path

import cluener
from npukit import command, files
from npukit.corpus import store


def main() -> None:
    args = options()
    vocabulary = cluener.Vocabulary.load(args.vocab)
    skipped, rows, labels = [], [], []
    on_bad = skipped.append if args.on_bad_input == "skip" else None
    for sentence in command.progress(cluener.read(args.data, args.max_seq_len, on_bad=on_bad), "preprocess"):
        labels.append({"data_index": len(rows), "tags": [sentence.tags], "lens": [len(sentence.text)]})
        rows.append(vocabulary.ids(sentence.text))
    characters, unknown = sum(map(len, rows)), sum(ids.count(cluener.UNK) for ids in rows)
    corpus = {"name": args.data.name, "sha256": files.sha256(args.data), "vocabulary": len(vocabulary),
              "samples": len(rows) + len(skipped), "skipped": [bad.brief for bad in skipped],
              "unknown_share": unknown / characters}
    files.write_text(args.output / "label.txt", "".join(f"{json.dumps(label)}\n" for label in labels))
    inputs = {"ids": store.Input("input_ids"), "mask": store.Input("input_mask")}
    store.write(args.output, inputs, {"ids": rows, "mask": [[1] * len(ids) for ids in rows]}, [args.max_seq_len], corpus)
    store.warn_of_unknown(corpus)


def options():
    parser = command.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the text to infer")
    parser.add_argument("--max_seq_len", type=int, default=50, help="longest text the model takes; longer ones are refused")
    parser.add_argument("--output", type=Path, required=True, help="folder for the inputs")
    parser.add_argument("--vocab", type=Path, default=Path(__file__).with_name("weights") / "vocab.txt")
    parser.add_argument("--on_bad_input", choices=["stop", "skip"], default="stop", help="skip: count and list it instead")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
