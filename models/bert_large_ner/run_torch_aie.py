#!/usr/bin/env python3
"""Run CoNLL-2003 through the trace: compiled by torch_aie or mindietorch where they are, as TorchScript on the CPU elsewhere.

README, "The torch-aie route", step 3. Prints which of them it was and what the original prints.

Reads   --ts_model_path      bert_large_ner.pt, from export_trace_model.py
        --inputs             preprocess.py's folder; or, as in the original:
        --model_config_path  a Hugging Face directory with the tokenizer, as preprocess.py's
        --test_file_path     test.txt: four columns a word
Writes  --save_path, where given: logits.npy float32 [samples, L, 9] of preprocess.py's samples, then result.json
Source  ModelZoo-PyTorch ca89030, AscendIE/TorchAIE/built-in/nlp/Bert_Large_NER/run_torch_aie.py. It traced (ids, mask, types)
        and calls with (ids, types, mask); --recipe original does so too, and nothing else does
"""
import argparse
import time
from pathlib import Path

import numpy as np
import torch

import conll2003
import recipes
import torch_backends
import trace_archive
from npukit import command, files
from npukit.corpus import gears, store, wordpiece
from npukit.errors import UserError
from npukit.nets import bert

SWAPPED = ("input_ids", "token_type_ids", "attention_mask")  # the original's call: every position is masked


def main() -> None:
    args = options()
    samples, words = read(args)
    backend = torch_backends.choose(args.backend, args.device, args.soc_version)
    print(f"backend: {backend.name}", flush=True)
    net = backend.compile(trace_archive.load(args.ts_model_path), len(recipes.INPUTS), args.batch_size, args.seq_len)
    logits, seconds = run(backend, net, samples, args)
    scores, _ = recipes.score(words, recipes.predicted(logits, words))
    result = {"backend": backend.name, "precision": backend.precision, "recipe": args.recipe, "batch_size": args.batch_size,
              "seq_lens": args.seq_len, "samples": len(samples), "samples_per_s": len(samples) / sum(seconds), "metrics": scores}
    print(f"Accuracy={scores['token_accuracy'] * 100: .2f}% (O everywhere: {scores['all_o_accuracy'] * 100:.2f}%), "
          f"entity F1={scores['f1'] * 100: .2f}%")
    print(f"Pure model inference performance= {1000 * np.mean(seconds)} ms\nPerformance= {result['samples_per_s']} it/s")
    if args.save_path:
        args.save_path.mkdir(parents=True, exist_ok=True)
        np.save(args.save_path / "logits.npy", logits)
        files.write_json(args.save_path / "result.json", result)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--ts_model_path", type=Path, default="./bert_large_ner.pt")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's folder, instead of the tokenizer and the text")
    parser.add_argument("--model_config_path", type=Path, default="./bert-large-NER", help="the folder of the tokenizer's files")
    parser.add_argument("--test_file_path", type=Path, default="./conll2003/test.txt")
    parser.add_argument("--recipe", choices=recipes.METRIC, default="npukit", help="word pieces, or whole words as the original has it")
    parser.add_argument("--seq_len", type=lengths, default="512", help="a length, or several with commas")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--backend", choices=("auto", *torch_backends.MODULES, "cpu"), default="auto")
    parser.add_argument("--device", type=int, default=0, help="the chip's number")
    parser.add_argument("--soc_version", default="Ascend310P3")
    parser.add_argument("--save_path", type=Path, help="folder for logits.npy and result.json")
    args = parser.parse_args()
    if args.recipe == "original" and args.seq_len[1:]:
        raise UserError(f"--recipe original masks every position, the filling too, so its answers depend on the length; give one "
                        f"--seq_len, not {len(args.seq_len)}")
    if args.batch_size < 1:
        raise UserError(f"--batch_size is {args.batch_size}, expected 1 or more")
    return args


def lengths(text: str) -> list[int]:
    """Read --seq_len."""
    found = gears.parse(text)
    if found is None or found[-1] > wordpiece.LONGEST:
        raise UserError(f"--seq_len is {text!r}; expected lengths up to {wordpiece.LONGEST}")
    return found


def read(args: argparse.Namespace) -> tuple[store.Samples, np.ndarray]:
    """Return the samples and the words in them, int64 [W, 4] (recipes.Samples): as preprocess.py left them, or made anew."""
    if args.inputs:
        return store.read(args.inputs)[1], recipes.read_words(args.inputs / "words.npy")
    tokenizer = wordpiece.load(args.model_config_path, "--model_config_path")
    sentences = conll2003.read(args.test_file_path)
    encoded = recipes.encode(args.test_file_path, sentences, tokenizer, args.recipe, args.seq_len[-1])
    return store.join(recipes.INPUTS, encoded.inputs()), encoded.words


def run(backend, net, samples: store.Samples, args: argparse.Namespace) -> tuple[np.ndarray, list[float]]:
    """Return (logits float32 [samples, L, 9], the seconds of each batch without its copies), shortest samples first.

    A batch runs at the smallest length that holds it. The first at each length runs twice more beforehand, untimed: TorchScript
    profiles a first call and compiles at the second.
    """
    names, warm, seconds = SWAPPED if args.recipe == "original" else recipes.INPUTS, set(), []

    def batch(feeds: dict[str, np.ndarray]) -> np.ndarray:
        length = feeds["input_ids"].shape[1]
        tensors = [backend.to_device(torch.from_numpy(feeds[name])) for name in names]
        for _ in range(0 if length in warm else 2):
            backend.call(net, tensors)
        warm.add(length)
        began = time.perf_counter()
        logits = backend.call(net, tensors)[0]
        seconds.append(time.perf_counter() - began)
        return logits.cpu().numpy()

    with torch.inference_mode():
        return bert.run_batches(batch, samples, args.batch_size, args.seq_len), seconds


if __name__ == "__main__":
    command.run(main)
