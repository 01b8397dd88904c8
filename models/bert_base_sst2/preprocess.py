#!/usr/bin/env python3
"""Turn SST-2 sentences into the model's two inputs.

README, "Prepare the data", step 2. Nothing is ever cut: a sentence longer than the longest --seq_len is refused.

Reads   --text_file       dev.tsv: a header, then sentence, tab, label
        --tokenizer_path  a Hugging Face directory: vocab.txt or tokenizer.json, tokenizer_config.json
Writes  --save_path, with one length
            input_ids/data_00000000.npy ...        int64 [seq_len], [PAD] behind the sentence
            attention_mask/data_00000000.npy ...   int64 [seq_len]
        --save_path, with several lengths or auto (the best --gears of this corpus): samples of their own lengths, to be
        run in gears
            input_ids.npy attention_mask.npy lengths.npy; with --batch_size also whole batches of one length each,
            input_ids/batch_00000.npy ..., and order.npy, which sample stands where
        labels.json     the labels, 0 or 1, in the order of the corpus
        seq_lens.txt    the lengths that the graph is to be compiled for
        manifest.json   last of all
Source  ModelZoo-PyTorch 333774d, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/preprocess.py
"""
import argparse
from pathlib import Path

import numpy as np

import sst2
from npukit import command, files, gears, ragged
from npukit.errors import BadSample, UserError
from npukit.samples import Input, SampleWriter


def main() -> None:
    args = options()
    tokenizer = sst2.load_tokenizer(args.tokenizer_path)
    sentences, rows = [], []
    for sentence, ids in command.progress(sst2.encode(args.text_file, tokenizer), "preprocess"):
        sentences.append(sentence)
        rows.append(ids)
    lengths = np.array([len(ids) for ids in rows])
    seq_lens = gears.parse(args.seq_len, lengths, args.gears, read_costs(args.gear_cost) if args.gear_cost else None)
    if seq_lens[-1] > sst2.LONGEST:
        raise UserError(f"--seq_len is {args.seq_len!r}, BERT takes {sst2.LONGEST} word pieces")
    refuse_longer(args.text_file, sentences, lengths, seq_lens[-1])
    args.save_path.mkdir(parents=True, exist_ok=True)
    clear(args.save_path)
    files.write_json(args.save_path / "labels.json", [sentence.label for sentence in sentences])
    files.write_text(args.save_path / "seq_lens.txt", " ".join(map(str, seq_lens)) + "\n")
    corpus = {"name": args.text_file.name, "sha256": files.sha256(args.text_file), "samples": len(rows), "skipped": [],
              "vocabulary": tokenizer.get_vocab_size()}
    if len(seq_lens) == 1:
        write_padded(args.save_path, rows, seq_lens[0], corpus)
        return
    inputs = {"input_ids": rows, "attention_mask": [[1] * len(ids) for ids in rows]}
    ragged.write(args.save_path, inputs, seq_lens, corpus)
    if args.batch_size is not None:
        ragged.write_batches(args.save_path, args.batch_size, args.save_path)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--text_file", type=Path, required=True, help="the validation set")
    parser.add_argument("--tokenizer_path", type=Path, required=True, help="the folder of the tokenizer's files")
    parser.add_argument("--seq_len", default="128", help="a length, several with commas, or auto")
    parser.add_argument("--save_path", type=Path, required=True, help="folder for the inputs")
    parser.add_argument("--batch_size", type=int, help="with several lengths: write whole batches of one length each")
    parser.add_argument("--gear_cost", type=Path, help='measured cost of a sample by length, {"32": 1.9, "64": 4.1}; tokens if not given')
    parser.add_argument("--gears", type=int, default=8, help="how many lengths auto may choose")
    return parser.parse_args()


def clear(folder: Path) -> None:
    """Remove the inputs of a call before: other lengths have other files, and what is left of them would be read."""
    for pattern in ("manifest.json", "lengths.npy", "order.npy", "input_ids/*.npy", "attention_mask/*.npy"):
        for old in folder.glob(pattern):
            old.unlink()


def read_costs(path: Path) -> dict[int, float]:
    """Return a JSON file's costs by length."""
    try:
        return {int(length): float(cost) for length, cost in files.read_json(path).items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f'{path} is not {{"length": cost, ...}}') from None


def refuse_longer(path: Path, sentences: list[sst2.Sentence], lengths: np.ndarray, longest: int) -> None:
    """Raise BadSample for the first sentence that no length holds."""
    for sentence, length in zip(sentences, lengths):
        if length > longest:
            raise BadSample(path, sentence.line, f"the sentence has {length} word pieces, the longest --seq_len is {longest}; "
                                                 "it is never cut: raise --seq_len")


def write_padded(folder: Path, rows: list[list[int]], seq_len: int, corpus: dict) -> None:
    """Write each sentence filled up to one length, a file a sample and input."""
    samples = SampleWriter(folder, {name: Input(name, "int64", (seq_len,)) for name in ("input_ids", "attention_mask")})
    for ids in rows:
        padded, mask = np.zeros((2, seq_len), dtype=np.int64)
        padded[:len(ids)], mask[:len(ids)] = ids, 1
        samples.add(input_ids=padded, attention_mask=mask)
    samples.finish(corpus)


if __name__ == "__main__":
    command.run(main)
