#!/usr/bin/env python3
"""Write sentences of our own whose lengths follow CoNLL-2003's: 20 word pieces on average, 95 % of them under 46.

For speed and memory where the corpus itself may not be had: `make PROFILE=random CORPUS=/path/of/its/output`. Every word is one
piece of BERT's cased vocabulary, and with [CLS] and [SEP] the lengths are 2 + a gamma distribution's, which is as skewed as
the corpus': many headlines and results, few long sentences.

Writes  --output  four columns a word, IOB2, a document every 16 sentences; the same for the same --seed
"""
import argparse
import random
from pathlib import Path

from npukit import command, files

SHAPE, SCALE, LONGEST = 2.0, 9.0, 124  # of the gamma distribution: mean 18, 95 % under 43; the corpus' longest sentence
NAMES = {"PER": "Anna Peter Maria Thomas Helen David Clara Simon Laura Martin".split(),
         "LOC": "London Paris Berlin Madrid Vienna Oslo Dublin Prague Rome Athens".split(),
         "ORG": "Sony Ford Nokia Siemens Boeing Shell Philips Toyota Fiat Intel".split(),
         "MISC": "German French Italian Spanish Dutch Swedish Russian English Irish Polish".split()}
WORDS = ("the of and to in a was for on said with as at his by that from he it were had after an but not be who will have has been which "
         "their one out first their year last two up more also three over against game team week market company state police people "
         "government million told between when there before win since world second time record season group men match points day "
         "president new back percent down under off play half set won took made left right home city north south war peace , . "
         "( ) 1 2 3 4").split()
NAMED = 0.12  # of the words; the released test split has 5648 entities in 46435 words


def main() -> None:
    args = options()
    chance = random.Random(args.seed)
    lines = []
    for number in range(args.sentences):
        if number % 16 == 0:
            lines += ["-DOCSTART- -X- -X- O", ""]
        count = min(max(1, round(chance.gammavariate(SHAPE, SCALE))), LONGEST)
        lines += [*(word(chance) for _ in range(count)), ""]
    files.write_text(args.output, "\n".join(lines) + "\n")


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--sentences", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def word(chance: random.Random) -> str:
    """Return a word's line: an entity of one word, or a word that is none."""
    if chance.random() < NAMED:
        kind = chance.choice(list(NAMES))
        return f"{chance.choice(NAMES[kind])} NNP B-NP B-{kind}"
    return f"{chance.choice(WORDS)} NN B-NP O"


if __name__ == "__main__":
    command.run(main)
