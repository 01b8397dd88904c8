#!/usr/bin/env python3
"""Export BERT for sequence classification to ONNX, with any batch size and length, and prove it on the real samples.

README, "Inference", step 1.2.

Reads   --model_dir   a Hugging Face directory: config.json with model.safetensors or pytorch_model.bin (weights only);
                      with --random_weights its config.json alone
        --inputs      preprocess.py's folder; with it the export is compared with PyTorch on those samples
Writes  --save_path           the graph: input_ids, attention_mask int64 [N, L] -> output float32 [N, 2]
        with --inputs also    reference.npy, PyTorch's logits float32 [samples, 2]; ledger.json, what each form of the
                              network scores and how close it is; weights.json, their kind, digest and number
Source  ModelZoo-PyTorch ad818b5, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/pth2onnx.py
"""
import argparse
from pathlib import Path

import sst2
from npukit import command
from npukit.corpus import store
from npukit.nets import bert


def main() -> None:
    args = options()
    manifest, samples = store.read(args.inputs) if args.inputs else (None, None)
    if manifest:
        bert.check_vocabulary(args.model_dir, manifest["corpus"]["vocabulary"])
    net = bert.load("SequenceClassification", args.model_dir, labels=2, seed=args.seed if args.random_weights else None)
    if args.random_weights:
        bert.spread_head(net.classifier, bert.logits(net, samples))
        net.save_pretrained(args.save_path.parent / "weights")
    bert.export(net, ["input_ids", "attention_mask"], {"output": {0: "N"}}, args.save_path)
    if manifest:
        bert.prove_export(net, args.save_path, samples, sst2.task(args.inputs))
        bert.write_weights(net, args, args.model_dir, args.save_path)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--model_dir", type=Path, required=True)
    parser.add_argument("--save_path", type=Path, required=True, help="the ONNX file")
    return bert.options(parser)


if __name__ == "__main__":
    command.run(main)
