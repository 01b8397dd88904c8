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
import random
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import cluener
from bilstm_crf import BiLstmCrf
from cluener import Sentence, Vocabulary
from crf_decode import predict, score
from npukit import command, files
from npukit.errors import UserError
from npukit.nets.training import Training

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
    torch.manual_seed(args.seed)
    net = BiLstmCrf(len(vocabulary), dropout=DROPOUT)
    recipe = {"epochs": args.epochs, "seed": args.seed, "batch_size": args.batch_size, "dropout": DROPOUT, "swap": SWAP,
              "forget": FORGET, "train": files.sha256(args.data_dir / "train.json")}
    training = Training(net, torch.optim.Adam(net.parameters(), lr=LEARNING_RATE), AVERAGE, GRADIENT_NORM, recipe)
    mentions = mentions_of(train)
    training.run(args.output / "last.pt",
                 lambda chance: batches_of([swap_mentions(s, mentions, chance) for s in train], args.batch_size,
                                           chance),
                 lambda batch: loss_of(net, batch, vocabulary),
                 lambda average: {"dev_f1": round(evaluate(average, dev, vocabulary)["strict_f1"], 4)})
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


def loss_of(net: BiLstmCrf, batch: list[Sentence], vocabulary: Vocabulary) -> torch.Tensor:
    """Return the CRF's loss of a batch of sentences of one length, some characters forgotten."""
    ids = torch.tensor([vocabulary.ids(s.text) for s in batch])
    ids[torch.rand(ids.shape) < FORGET] = cluener.UNK
    return net.crf.loss(net(ids), torch.tensor([[cluener.TAG_ID[t] for t in s.tags] for s in batch]))


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
    """Return what the network scores on the sentences."""
    net = copy.deepcopy(net).eval()
    lengths = np.array([len(s.text) for s in sentences])
    ids = torch.zeros(len(sentences), lengths.max(), dtype=torch.int64)
    for row, sentence in zip(ids, sentences):
        row[:len(sentence.text)] = torch.tensor(vocabulary.ids(sentence.text))
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    with torch.inference_mode():
        features = torch.cat([net(ids[i:i + 64], mask[i:i + 64]) for i in range(0, len(ids), 64)]).numpy()
    predicted = predict(features, lengths, net.crf.transitions.numpy(force=True))
    return score(predicted, [s.tags for s in sentences])[0]


def release(args, training: Training, vocabulary: Vocabulary, skipped: list) -> None:
    """Write what is shipped; the training's own state is no longer needed."""
    weights = {name: value.half().contiguous() for name, value in training.average.module.state_dict().items()}
    vocabulary.save(args.output / "vocab.txt")
    with files.aside(args.output / "weights.safetensors") as new:
        save_file(weights, new)
    files.write_json(args.output / "card.json", training.card(
        dev=files.sha256(args.data_dir / "dev.json"), skipped=[bad.brief for bad in skipped],
        weights=files.sha256(args.output / "weights.safetensors")))
    (args.output / "last.pt").unlink(missing_ok=True)


if __name__ == "__main__":
    command.run(main)
