#!/usr/bin/env python3
"""Train BiLSTM-CRF on CLUENER's train.json, on the CPU.

README, "Train": the original releases no weights and names `run_lstm_crf.py --do_train --gpu ''`.

Reads   <data_dir>/train.json; <data_dir>/dev.json for the curve only: neither the number of epochs nor the weights
        that are kept depend on it
Writes  <output>/weights.safetensors  half precision, the moving average of the weights after the last epoch
        <output>/vocab.txt            characters of train.json
        <output>/card.json            digests, seed, epochs, wall time, curve
        <output>/last.pt              where a killed training goes on; removed at the end
Source  CLUENER2020 2e8fccd, bilstm_crf_pytorch/run_lstm_crf.py: architecture, loss, Adam, gradient norm 5, batch 32
"""
import collections
import copy
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import cluener
from bilstm_crf import BiLstmCrf
from cluener import Sentence, Vocabulary
from crf_decode import predict
from npukit import command, files, metrics
from npukit.errors import UserError

MAX_LENGTH = 50  # the longest sentence of the corpus
DROPOUT = 0.5
LEARNING_RATE, GRADIENT_NORM = 1e-3, 5.0
AVERAGE = 0.998  # decay of the moving average, about 500 steps
SWAP, FORGET = 0.25, 0.01  # mentions exchanged for another of their category; characters read as [UNK]


def main() -> None:
    args = options()
    if not args.do_train or args.gpu:
        raise UserError("this script trains on the CPU: call it as the original does, --do_train --gpu ''")
    skipped = []
    train = list(cluener.read(args.data_dir / "train.json", MAX_LENGTH, on_bad=skipped.append))
    dev = list(cluener.read(args.data_dir / "dev.json", MAX_LENGTH))
    vocabulary = vocabulary_of(train)
    args.output.mkdir(parents=True, exist_ok=True)
    training = Training(args, train, vocabulary)
    training.resume(args.output / "last.pt")
    for epoch in range(training.done, args.epochs):
        loss = training.epoch(epoch)
        scores = evaluate(training.average.module, dev, vocabulary)
        training.curve.append({"epoch": epoch + 1, "loss": round(loss, 4), "dev_f1": round(scores["f1"], 4)})
        print(json.dumps(training.curve[-1]), flush=True)
        training.save(args.output / "last.pt")
    release(args, training, vocabulary, skipped)


def options():
    parser = command.parser(__doc__)
    parser.add_argument("--do_train", action="store_true")
    parser.add_argument("--gpu", default="", help="'' as in the original: on the CPU")
    parser.add_argument("--data_dir", type=Path, required=True, help="the folder of train.json and dev.json")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1234)
    return parser.parse_args()


def vocabulary_of(sentences: list[Sentence]) -> Vocabulary:
    """Return the characters that occur twice or more, most frequent first; the rest teach [UNK] what it means."""
    count = collections.Counter(character for sentence in sentences for character in sentence.text)
    return Vocabulary([*cluener.SPECIAL, *(character for character, times in count.most_common() if times > 1)])


class Training:
    """The state of a training: everything that a killed one needs to go on as if nothing had happened."""

    def __init__(self, args, sentences: list[Sentence], vocabulary: Vocabulary):
        torch.manual_seed(args.seed)
        self.args, self.sentences, self.vocabulary = args, sentences, vocabulary
        self.recipe = {"epochs": args.epochs, "seed": args.seed, "batch_size": args.batch_size,
                       "train": files.sha256(args.data_dir / "train.json")}
        self.mentions = mentions_of(sentences)
        self.net = BiLstmCrf(len(vocabulary), dropout=DROPOUT)
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE)
        self.done, self.seconds, self.curve = 0, 0.0, []

    def epoch(self, number: int) -> float:
        """Run one epoch and return its mean loss; its randomness depends on the seed and its number alone."""
        began = time.monotonic()
        chance = random.Random(f"{self.args.seed}/{number}")
        torch.manual_seed(self.args.seed + number)
        self.net.train()
        total = 0.0
        batches = batches_of([swap_mentions(s, self.mentions, chance) for s in self.sentences], self.args.batch_size, chance)
        for place, batch in enumerate(command.progress(batches, f"epoch {number + 1}/{self.args.epochs}", unit="batch")):
            set_rate(self.optimizer, (number + place / len(batches)) / self.args.epochs)
            ids = torch.tensor([self.vocabulary.ids(s.text) for s in batch])
            ids[torch.rand(ids.shape) < FORGET] = cluener.UNK
            loss = self.net.crf.loss(self.net(ids), torch.tensor([[cluener.TAG_ID[t] for t in s.tags] for s in batch]))
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


def mentions_of(sentences: list[Sentence]) -> dict[str, list[str]]:
    """Return all mentions of each category, as often as they occur."""
    mentions = collections.defaultdict(list)
    for sentence in sentences:
        for category, first, last in cluener.entities(sentence.tags):
            mentions[category].append(sentence.text[first:last + 1])
    return mentions


def swap_mentions(sentence: Sentence, mentions: dict[str, list[str]], chance: random.Random) -> Sentence:
    """Exchange some mentions for others of their category, as long as the sentence stays within the model's length."""
    text, label, copied = "", collections.defaultdict(lambda: collections.defaultdict(list)), 0
    for category, first, last in cluener.entities(sentence.tags):
        mention = sentence.text[first:last + 1]
        if chance.random() < SWAP:
            other = chance.choice(mentions[category])
            if len(text) + len(other) + len(sentence.text) - copied - len(mention) <= MAX_LENGTH:
                mention = other
        text += sentence.text[copied:first]
        label[category][mention].append((len(text), len(text) + len(mention) - 1))
        text, copied = text + mention, last + 1
    text += sentence.text[copied:]
    return Sentence(text, cluener.tags_of(text, label))


def batches_of(sentences: list[Sentence], size: int, chance: random.Random) -> list[list[Sentence]]:
    """Return batches of sentences of one length, so that nothing is padded, in random order."""
    by_length = collections.defaultdict(list)
    for sentence in sentences:
        by_length[len(sentence.text)].append(sentence)
    batches = []
    for _, group in sorted(by_length.items()):
        chance.shuffle(group)
        batches += [group[i:i + size] for i in range(0, len(group), size)]
    chance.shuffle(batches)
    return batches


def evaluate(net: BiLstmCrf, sentences: list[Sentence], vocabulary: Vocabulary) -> dict:
    """Return precision, recall and F1 of the network on the sentences."""
    net = copy.deepcopy(net).eval()
    lengths = np.array([len(s.text) for s in sentences])
    ids = torch.zeros(len(sentences), lengths.max(), dtype=torch.int64)
    for row, sentence in zip(ids, sentences):
        row[:len(sentence.text)] = torch.tensor(vocabulary.ids(sentence.text))
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    with torch.inference_mode():
        features = torch.cat([net(ids[i:i + 64], mask[i:i + 64]) for i in range(0, len(ids), 64)]).numpy()
    predicted = predict(features, lengths, net.crf.transitions.numpy(force=True))
    return metrics.entity_scores([cluener.entities(s.tags) for s in sentences], predicted)[0]


def release(args, training: Training, vocabulary: Vocabulary, skipped: list) -> None:
    """Write what is shipped; the training's own state is no longer needed."""
    weights = {name: value.half().contiguous() for name, value in training.average.module.state_dict().items()}
    vocabulary.save(args.output / "vocab.txt")
    with files.aside(args.output / "weights.safetensors") as new:
        save_file(weights, new)
    card = {**training.recipe, "dev": files.sha256(args.data_dir / "dev.json"), "wall_seconds": round(training.seconds),
            "skipped": [bad.brief for bad in skipped], "torch": torch.__version__, "threads": torch.get_num_threads(),
            "dev_used_for": "the curve below and the choice of this recipe; not for the epoch or the weights",
            "weights": files.sha256(args.output / "weights.safetensors"), "curve": training.curve}
    with files.aside(args.output / "card.json") as new:
        new.write_text(json.dumps(card, indent=1) + "\n")
    (args.output / "last.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    command.run(main)
