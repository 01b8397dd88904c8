#!/usr/bin/env python3
"""Export BERT for question answering to ONNX, with any batch size and length, and prove it on the real windows.

README, "Convert the model", step 1.

Reads   --config_file   config.json, SpanBERT's own or a Hugging Face one
        --checkpoint    pytorch_model.bin or model.safetensors (weights only), or the folder of one
        --inputs        preprocess.py's folder; with it the export is compared with PyTorch on those windows
Writes  --onnx_path           the graph: input_ids, token_type_ids, attention_mask int64 [N, L] -> start_logits, end_logits float32 [N, L]
        with --inputs also    reference.npy, PyTorch's logits float32 [windows, L, 2]; ledger.json, what each form of the
                              network scores and how close it is; weights.json, their kind, digest and number
Source  ModelZoo-PyTorch 33683d9, ACL_PyTorch/contrib/nlp/SpanBERT/spanBert_pth2onnx.py
"""
import argparse
from pathlib import Path

import numpy as np
import torch

import answers
import window_files
from npukit import command
from npukit.corpus import store
from npukit.errors import JobFailed, UserError
from npukit.nets import bert
from windows import INPUTS

LEAST_WITHIN = 0.5  # of the logits' standard deviation has to be found within each window


def main() -> None:
    args = options()
    corpus, manifest, samples = window_files.read(args.inputs) if args.inputs else (None, None, None)
    if corpus:
        bert.check_vocabulary(args.config_file, manifest["corpus"]["vocabulary"])
    net = bert.load("QuestionAnswering", args.checkpoint or args.config_file.parent, labels=2, config_file=args.config_file,
                    seed=args.seed if args.random_weights else None)
    if args.random_weights:
        spread_head(net, samples)
        net.save_pretrained(args.onnx_path.parent / "weights")
    bert.export(Halved(net) if args.fp16 else net, list(INPUTS),
                {name: {0: "N", 1: "L"} for name in ("start_logits", "end_logits")}, args.onnx_path)
    if corpus:
        bert.prove_export(net, args.onnx_path, samples, answers.task(corpus))
        bert.write_weights(net, args, args.checkpoint, args.onnx_path)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--config_file", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--onnx_path", type=Path, default=Path("spanBert_dynamicbs.onnx"))
    parser.add_argument("--fp16", action="store_true", help="weights and arithmetic in half precision; inputs and outputs as they are")
    args = bert.options(parser)
    if args.random_weights == (args.checkpoint is not None):
        raise UserError("give either --checkpoint or --random_weights")
    if args.fp16 and args.inputs:
        raise UserError("--fp16 with --inputs: the proof is for fp32; atc makes half precision of the fp32 graph for the chip")
    return args


class Halved(torch.nn.Module):
    """A network in half precision whose logits are float32."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net.half()

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: logits.float() for name, logits in self.net(**inputs).items()}


def spread_head(net: torch.nn.Module, samples: store.Samples) -> None:
    """Centre and scale the random head's start and end logits over all word pieces, so that its answers mean something.

    raises  JobFailed where the pieces of a window hardly differ: no place would be the answer, and no gate could fail
    """
    made, lengths = bert.logits(net, samples), samples.lengths
    inside = np.arange(made.shape[1]) < lengths[:, None]
    within = np.mean([row[:length].std(0) for row, length in zip(made, lengths)], axis=0) / made[inside].std(0)
    if within.min() < LEAST_WITHIN:
        raise JobFailed(f"the random network gives the word pieces of a window about one logit: they deviate by {within.min():.0%} of what "
                        "all pieces do; use another --seed")
    bert.spread_head(net.qa_outputs, made[inside])


if __name__ == "__main__":
    command.run(main)
