#!/usr/bin/env python3
"""Train a small BERT from scratch on SST-2's train.tsv, on the CPU: the weights of PROFILE=trained.

The original fine-tunes nothing; these weights exist so that accuracy is real where the released ones cannot be had.

Reads   <data_dir>/train.tsv; <data_dir>/dev.tsv for the curve only: neither the number of epochs nor the weights that are
        kept depend on it. <tokenizer_path>/vocab.txt, the released model's own vocabulary
Writes  <output>/model.safetensors  half precision, the moving average of the weights after the last epoch
        <output>/config.json        a Hugging Face BERT, 3 layers of 128
        <output>/card.json          digests, seed, epochs, wall time, curve
        <output>/last.pt            where a killed training goes on; removed at the end
"""
import argparse
import random
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

import sst2
from npukit import command, files
from npukit.corpus import wordpiece
from npukit.nets.training import Training

HIDDEN, LAYERS, HEADS, INNER, DROPOUT = 128, 3, 4, 512, 0.3
LEARNING_RATE, WEIGHT_DECAY, GRADIENT_NORM = 5e-4, 0.05, 1.0
AVERAGE = 0.999  # decay of the moving average, about an epoch
FORGET = 0.3  # word pieces read as [MASK]


def main() -> None:
    args = options()
    tokenizer = wordpiece.load(args.tokenizer_path)
    train = [(ids, s.label) for s, ids in sst2.encode(args.data_dir / "train.tsv", tokenizer)]
    dev = [(ids, s.label) for s, ids in sst2.encode(args.data_dir / "dev.tsv", tokenizer)]
    args.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    net = network(tokenizer.get_vocab_size())
    recipe = {"epochs": args.epochs, "seed": args.seed, "batch_size": args.batch_size, "dropout": DROPOUT,
              "weight_decay": WEIGHT_DECAY, "forget": FORGET, "train": files.sha256(args.data_dir / "train.tsv"),
              "vocabulary": files.sha256(args.tokenizer_path / "vocab.txt")}
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    training = Training(net, optimizer, AVERAGE, GRADIENT_NORM, recipe)
    training.run(args.output / "last.pt", lambda chance: batches_of(train, args.batch_size, chance),
                 lambda batch: loss_of(net, batch, tokenizer.token_to_id("[MASK]")),
                 lambda average: {"dev_accuracy": round(evaluate(average, dev), 4)})
    release(args, training)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="the folder of train.tsv and dev.tsv")
    parser.add_argument("--tokenizer_path", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1234)
    return parser.parse_args()


def network(vocabulary: int) -> BertForSequenceClassification:
    """Return the untrained network; eager attention, as it is exported."""
    return BertForSequenceClassification(BertConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=INNER,
        hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT, num_labels=2, attn_implementation="eager"))


def loss_of(net: BertForSequenceClassification, batch: list[tuple[list[int], int]], mask_id: int) -> torch.Tensor:
    """Return the loss of a batch, some word pieces behind [CLS] masked."""
    ids, mask, labels = padded(batch)
    ids[(torch.rand(ids.shape) < FORGET) & (mask == 1) & (torch.arange(ids.shape[1]) > 0)] = mask_id
    return net(input_ids=ids, attention_mask=mask, labels=labels).loss


def batches_of(samples: list, size: int, chance: random.Random) -> list[list]:
    """Return batches of sentences of about one length, in random order."""
    shuffled = chance.sample(samples, len(samples))
    ordered = sorted(shuffled, key=lambda sample: len(sample[0]) + chance.random() * 4)
    batches = [ordered[i:i + size] for i in range(0, len(ordered), size)]
    chance.shuffle(batches)
    return batches


def padded(batch: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids and mask int64 [N, L] and labels int64 [N]."""
    longest = max(len(ids) for ids, _ in batch)
    ids, mask = torch.zeros(2, len(batch), longest, dtype=torch.int64)
    for row, (tokens, _) in enumerate(batch):
        ids[row, :len(tokens)] = torch.tensor(tokens)
        mask[row, :len(tokens)] = 1
    return ids, mask, torch.tensor([label for _, label in batch])


def evaluate(net: BertForSequenceClassification, samples: list[tuple[list[int], int]]) -> float:
    """Return the accuracy on the samples."""
    training = net.training
    net.eval()
    logits, labels = [], []
    with torch.inference_mode():
        for begin in range(0, len(samples), 64):
            ids, mask, truth = padded(samples[begin:begin + 64])
            logits.append(net(input_ids=ids, attention_mask=mask).logits.numpy())
            labels.append(truth.numpy())
    net.train(training)
    return sst2.accuracy(np.concatenate(logits), np.concatenate(labels))


def release(args: argparse.Namespace, training: Training) -> None:
    """Write what is shipped; the training's own state is no longer needed."""
    net = training.average.module.half()
    net.config.save_pretrained(args.output)
    with files.aside(args.output / "model.safetensors") as new:
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, new,
                  metadata={"format": "pt"})
    files.write_json(args.output / "card.json", training.card(
        dev=files.sha256(args.data_dir / "dev.tsv"), weights=files.sha256(args.output / "model.safetensors")))
    (args.output / "last.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    command.run(main)
