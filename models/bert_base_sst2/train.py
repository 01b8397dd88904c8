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
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import BertConfig, BertForSequenceClassification

import sst2
from npukit import command, files
from npukit.errors import UserError

HIDDEN, LAYERS, HEADS, INNER, DROPOUT = 128, 3, 4, 512, 0.3
LEARNING_RATE, WEIGHT_DECAY, GRADIENT_NORM = 5e-4, 0.05, 1.0
AVERAGE = 0.999  # decay of the moving average, about an epoch
FORGET = 0.3  # word pieces read as [MASK]


def main() -> None:
    args = options()
    tokenizer = sst2.load_tokenizer(args.tokenizer_path)
    train = [(ids, s.label) for s, ids in sst2.encode(args.data_dir / "train.tsv", tokenizer)]
    dev = [(ids, s.label) for s, ids in sst2.encode(args.data_dir / "dev.tsv", tokenizer)]
    args.output.mkdir(parents=True, exist_ok=True)
    training = Training(args, train, tokenizer.mask_token_id, len(tokenizer))
    training.resume(args.output / "last.pt")
    for epoch in range(training.done, args.epochs):
        loss = training.epoch(epoch)
        score = evaluate(training.average.module, dev)
        training.curve.append({"epoch": epoch + 1, "loss": round(loss, 4), "dev_accuracy": round(score, 4)})
        print(json.dumps(training.curve[-1]), flush=True)
        training.save(args.output / "last.pt")
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
        vocab_size=vocabulary, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INNER,
        hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT, num_labels=2, attn_implementation="eager"))


class Training:
    """The state of a training: everything that a killed one needs to go on as if nothing had happened."""

    def __init__(self, args: argparse.Namespace, samples: list[tuple[list[int], int]], mask_id: int, vocabulary: int):
        torch.manual_seed(args.seed)
        self.args, self.samples, self.mask_id = args, samples, mask_id
        self.recipe = {"epochs": args.epochs, "seed": args.seed, "batch_size": args.batch_size,
                       "train": files.sha256(args.data_dir / "train.tsv"),
                       "vocabulary": files.sha256(args.tokenizer_path / "vocab.txt")}
        self.net = network(vocabulary)
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.done, self.seconds, self.curve = 0, 0.0, []

    def epoch(self, number: int) -> float:
        """Run one epoch and return its mean loss; its randomness depends on the seed and its number alone."""
        began = time.monotonic()
        chance = random.Random(f"{self.args.seed}/{number}")
        torch.manual_seed(self.args.seed + number)
        self.net.train()
        total, batches = 0.0, batches_of(self.samples, self.args.batch_size, chance)
        for place, batch in enumerate(command.progress(batches, f"epoch {number + 1}/{self.args.epochs}", unit="batch")):
            set_rate(self.optimizer, (number + place / len(batches)) / self.args.epochs)
            ids, mask, labels = padded(batch)
            ids[(torch.rand(ids.shape) < FORGET) & (mask == 1) & (torch.arange(ids.shape[1]) > 0)] = self.mask_id
            loss = self.net(input_ids=ids, attention_mask=mask, labels=labels).loss
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), GRADIENT_NORM)
            self.optimizer.step()
            self.average.update_parameters(self.net)
            total += loss.item()
        self.done, self.seconds = number + 1, self.seconds + time.monotonic() - began
        return total / len(batches)

    def save(self, path: Path) -> None:
        with files.aside(path) as new:
            torch.save({"recipe": self.recipe, "done": self.done, "seconds": self.seconds, "curve": self.curve,
                        "net": self.net.state_dict(), "average": self.average.state_dict(),
                        "optimizer": self.optimizer.state_dict()}, new)

    def resume(self, path: Path) -> None:
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state.get("recipe") != self.recipe:
            raise UserError(f"{path} belongs to another training, {state.get('recipe')}; remove it to begin anew")
        for name in ("net", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.done, self.seconds, self.curve = state["done"], state["seconds"], state["curve"]
        print(f"going on after epoch {self.done}", flush=True)


def set_rate(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Warm up over the first twentieth of the training, then fall to zero along half a cosine."""
    rate = LEARNING_RATE * min(progress * 20, 0.5 + 0.5 * math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = rate


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
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, new, metadata={"format": "pt"})
    card = {**training.recipe, "dev": files.sha256(args.data_dir / "dev.tsv"), "wall_seconds": round(training.seconds),
            "torch": torch.__version__, "threads": torch.get_num_threads(),
            "dev_used_for": "the curve below and the choice of this recipe; not for the epoch or the weights",
            "weights": files.sha256(args.output / "model.safetensors"), "curve": training.curve}
    files.write_json(args.output / "card.json", card)
    (args.output / "last.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    command.run(main)
