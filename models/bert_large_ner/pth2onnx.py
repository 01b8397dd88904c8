#!/usr/bin/env python3
"""Export BERT for token classification to ONNX, with any batch size and length, and prove it on the real samples.

README, "Inference", step 1. The original exports with `python -m transformers.onnx`, which transformers has given up.

Reads   --model   a Hugging Face directory: config.json with model.safetensors or pytorch_model.bin (weights only);
                  with --random_weights its config.json alone
        --inputs  preprocess.py's folder; with it the export is compared with PyTorch on those samples
Writes  --save_path           the graph: input_ids, attention_mask, token_type_ids int64 [N, L] -> logits float32 [N, L, 9]
        with --inputs also    reference.npy, PyTorch's logits float32 [samples, L, 9]; ledger.json, what each form of the
                              network scores and how close it is; weights.json, their kind, digest and number
"""
import argparse
from pathlib import Path

import conll2003
import recipes
from npukit import command
from npukit.corpus import store
from npukit.nets import bert


def main() -> None:
    args = options()
    manifest, samples = store.read(args.inputs) if args.inputs else (None, None)
    if manifest:
        bert.check_vocabulary(args.model, manifest["corpus"]["vocabulary"])
    net = bert.load("TokenClassification", args.model, labels=len(conll2003.TAGS), seed=args.seed if args.random_weights else None)
    conll2003.require_tags(net.config.id2label, args.model)
    task = recipes.task(args.inputs) if args.inputs else None
    if args.random_weights:
        bert.spread_head(net.classifier, task.decisions(bert.logits(net, samples))[0])
        net.save_pretrained(args.save_path.parent / "weights")
    bert.export(net, list(recipes.INPUTS), {"logits": {0: "N", 1: "L"}}, args.save_path)
    if manifest:
        bert.prove_export(net, args.save_path, samples, task)
        bert.write_weights(net, args, args.model, args.save_path)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--model", type=Path, default="bert-large-NER")
    parser.add_argument("--save_path", type=Path, default="model.onnx", help="the ONNX file")
    return bert.options(parser)


if __name__ == "__main__":
    command.run(main)
