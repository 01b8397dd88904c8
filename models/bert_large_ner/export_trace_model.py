#!/usr/bin/env python3
"""Trace BERT for token classification to TorchScript, with a mask constant that half precision can hold.

README, "The torch-aie route", steps 1 and 2: the original has its reader unzip the trace, edit the constant and zip it again.

Reads   --model_path  a Hugging Face directory: config.json with model.safetensors or pytorch_model.bin (weights only)
Writes  --save_path   bert_large_ner.pt: input_ids, attention_mask, token_type_ids int64 [N, L] -> (logits float32 [N, L, 9],)
Source  ModelZoo-PyTorch abf9c7b, AscendIE/TorchAIE/built-in/nlp/Bert_Large_NER/export_trace_model.py
"""
import argparse
import tempfile
import warnings
from pathlib import Path

import torch

import conll2003
import recipes
import trace_archive
from npukit import command
from npukit.errors import JobFailed
from npukit.nets import bert

CLOSE = 1e-4  # of the largest logit, at least 1: what fp32 in another order may move


def main() -> None:
    args = options()
    net = bert.load("TokenClassification", args.model_path, labels=len(conll2003.TAGS))
    conll2003.require_tags(net.config.id2label, args.model_path)
    with tempfile.TemporaryDirectory(dir=args.save_path.parent) as folder:
        new = Path(folder, args.save_path.name)  # the folder in the archive is called as the file is at first
        trace(net, new)
        if not args.keep_mask:
            print("\n".join(trace_archive.patch_mask(new, args.mask_value)))
        require_same(net, trace_archive.load(new))
        new.replace(args.save_path)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--model_path", type=Path, default="bert-large-NER")
    parser.add_argument("--save_path", type=Path, default="bert_large_ner.pt")
    parser.add_argument("--mask_value", type=float, default=-1000.0,
                        help="in place of the smallest float32; the original's is the default")
    parser.add_argument("--keep_mask", action="store_true", help="leave the constant as it was traced")
    return parser.parse_args()


class Tupled(bert.Positional):
    """The network with its inputs by position and a tuple of one, as transformers' torchscript=True makes it."""

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
        return (super().forward(*tensors),)


def trace(net: torch.nn.Module, path: Path) -> None:
    """Write the network's trace."""
    example = torch.ones(2, 8, dtype=torch.int64)
    example[1, 5:] = 0
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that sizes become constants: what it makes is compared at other sizes afterwards
        traced = torch.jit.trace(Tupled(net, list(recipes.INPUTS), ["logits"]).eval(), (example, example, example),
                                 check_trace=False)
    torch.jit.save(traced, path)


@torch.inference_mode()
def require_same(net: torch.nn.Module, traced: torch.jit.ScriptModule) -> None:
    """Raise JobFailed where the trace does not answer as the network does, on random samples of other sizes, partly masked."""
    random = torch.Generator().manual_seed(0)
    for samples, length in ((1, 5), (3, 40)):
        ids = torch.randint(net.config.vocab_size, (samples, length), generator=random)
        mask = (torch.arange(length) < torch.randint(1, length, (samples, 1), generator=random)).long()
        ours, wanted = traced(ids, mask, mask * 0)[0], net(input_ids=ids, attention_mask=mask,
                                                           token_type_ids=mask * 0).logits
        difference = float((ours - wanted)[mask == 1].abs().max())
        if not difference <= CLOSE * max(1.0, float(wanted.abs().max())):
            raise JobFailed(f"the trace is not the network: on {samples} samples of {length} pieces the logits are {difference:.1e} apart")


if __name__ == "__main__":
    command.run(main)
