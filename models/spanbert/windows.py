"""Questions and paragraphs as BERT reads them: word pieces, cut into windows that overlap, as run_squad.py cuts them.

    [CLS] question [SEP] pieces of the paragraph [SEP]

A paragraph with more pieces than fit is read through several windows, doc_stride pieces apart. Each piece counts in the
window that shows most of what stands around it, its "max context"; an answer has to begin there.

Source  run_squad.py of facebookresearch/SpanBERT at 0670d8b, after google-research/bert; nothing is copied
"""
import argparse
import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import squad
from npukit import files
from npukit.corpus import store, wordpiece
from npukit.corpus.wordpiece import LONGEST
from npukit.errors import BadSample, UserError

WHOLE = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}  # words that are pieces as they stand
# The graph's inputs in their order, and what the original calls their folders.
INPUTS = {"input_ids": store.Input("input_ids"), "token_type_ids": store.Input("segment_ids"), "attention_mask": store.Input("input_mask")}


@dataclass(frozen=True)
class Recipe:
    """What windows are made of and how; the flags of preprocess.py and postprocess.py."""

    dev_file: Path
    model: Path
    max_seq_length: int = LONGEST
    doc_stride: int = 128
    max_query_length: int = 64
    do_lower_case: bool = False
    version_2_with_negative: bool = False
    questions: int | None = None


def add_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the flags of a Recipe."""
    parser.add_argument("--dev_file", type=Path, required=required, help="SQuAD's dev-v1.1.json")
    parser.add_argument("--model", type=Path, required=required, help="a folder with vocab.txt or tokenizer.json")
    parser.add_argument("--max_seq_length", type=int, default=Recipe.max_seq_length, help="word pieces in a window, at most 512")
    parser.add_argument("--doc_stride", type=int, default=Recipe.doc_stride, help="pieces from one window's start to the next one's")
    parser.add_argument("--max_query_length", type=int, default=Recipe.max_query_length, help="word pieces in a question, at most")
    parser.add_argument("--do_lower_case", action="store_true", help="for an uncased vocabulary, if no file says so")
    parser.add_argument("--version_2_with_negative", action="store_true", help="questions without an answer are expected")
    parser.add_argument("--questions", type=int, help="take this many, evenly spread over the file; all if not given")


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the Recipe of parsed flags; raise UserError for lengths that make no window."""
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)})
    if not 1 <= recipe.max_query_length <= recipe.max_seq_length - 4 or recipe.max_seq_length > LONGEST:
        raise UserError(f"--max_seq_length {recipe.max_seq_length} and --max_query_length {recipe.max_query_length}: BERT takes {LONGEST} "
                        "word pieces, [CLS], two [SEP], the question and at least one of the paragraph")
    if recipe.doc_stride < 1:
        raise UserError(f"--doc_stride is {recipe.doc_stride}, expected 1 or more")
    return recipe


class Vocabulary:
    """Word pieces of words, as the BertTokenizer of SpanBERT makes them: split at punctuation, then the longest pieces first.

    folder  of the tokenizer, see npukit.corpus.wordpiece.load; lower is what holds where its files do not say do_lower_case
    size    of the vocabulary
    raises  UserError for --do_lower_case where the folder says false
    """

    def __init__(self, folder: Path, lower: bool):
        self.tokenizer = wordpiece.load(folder, "--model", lower)
        self.tokenizer.encode_special_tokens = True  # [SEP] within a word is text; a word of its own is in WHOLE
        if lower and not self.tokenizer.normalizer.lowercase:
            raise UserError(f"--do_lower_case is given, and {folder / wordpiece.CONFIG} says do_lower_case false; "
                            "leave the flag away")
        self.number = self.tokenizer.get_vocab()
        if self.number["[PAD]"] != 0:
            raise UserError(f"{folder} holds no vocabulary of BERT's: [PAD] as the first piece is missing")
        self.size = len(self.number)
        self.piece = {number: piece for piece, number in self.number.items()}
        self.known = {word: [self.number[word]] for word in WHOLE}

    def learn(self, words: Iterable[str]) -> None:
        """Split many words at once, which is fast."""
        new = sorted(set(words) - set(self.known))
        self.known |= {word: encoded.ids for word, encoded in zip(new, self.tokenizer.encode_batch(new, add_special_tokens=False))}

    def pieces(self, word: str) -> list[int]:
        """Return the pieces of a word that was learnt."""
        return self.known[word]

    @functools.cache  # noqa: B019  a vocabulary lives as long as the process
    def parts(self, word: str) -> str:
        """Return a word as it is before it is cut into pieces, punctuation apart: "(AFC)" as "( AFC )"."""
        if word in WHOLE:
            return word
        normal = self.tokenizer.normalizer.normalize_str(word)
        return " ".join(part for part, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(normal))


@dataclass(frozen=True)
class Window:
    """What BERT reads at a time.

    question  its number in the corpus
    ids       [CLS] question [SEP] pieces [SEP]
    first     the place of the first piece of the paragraph in ids
    start     that piece's number in the paragraph
    best      bool [pieces]: which have their max context here
    """

    question: int
    ids: list[int]
    first: int
    start: int
    best: np.ndarray


class Windows:
    """The windows of questions, and what spells an answer that was found in one.

    max_seq_length  word pieces in a window, at most
    paragraphs      as squad.read has them; questions is the list of (Question, number of its paragraph)
    words           of each paragraph; word_of[paragraph][piece] is the piece's word
    windows         of all questions, in the file's order
    piece           {id: word piece}
    """

    def __init__(self, max_seq_length: int, paragraphs: list[squad.Paragraph]):
        self.max_seq_length, self.paragraphs = max_seq_length, paragraphs
        self.words = [squad.words(paragraph.context) for paragraph in paragraphs]
        self.questions = [(question, number) for number, paragraph in enumerate(paragraphs) for question in paragraph.questions]

    def id_of(self, window: int) -> str:
        """Return the id of a window's question."""
        return self.questions[self.windows[window].question][0].id

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """The word pieces in each window, int64 [windows]."""
        return np.array([len(window.ids) for window in self.windows])


class Corpus(Windows):
    """A SQuAD file, tokenised and cut into windows."""

    def __init__(self, recipe: Recipe):
        self.recipe, self.vocabulary = recipe, Vocabulary(recipe.model, recipe.do_lower_case)
        self.piece, self.parts = self.vocabulary.piece, self.vocabulary.parts
        paragraphs = squad.read(recipe.dev_file, recipe.version_2_with_negative)
        self.total = sum(len(paragraph.questions) for paragraph in paragraphs)
        if recipe.questions is not None:
            paragraphs = squad.spread(paragraphs, recipe.questions)
        super().__init__(recipe.max_seq_length, paragraphs)
        queries = [squad.words(question.text) for question, _ in self.questions]
        self.vocabulary.learn(word for words in (*self.words, *queries) for word in words)
        self.word_of = [[number for number, word in enumerate(words) for _ in self.vocabulary.pieces(word)] for words in self.words]
        self.windows = [window for number, query in enumerate(queries) for window in self.cut(number, self.joined(query))]

    def joined(self, words: list[str]) -> list[int]:
        """Return the pieces of words."""
        return [piece for word in words for piece in self.vocabulary.pieces(word)]

    @functools.lru_cache(maxsize=1)  # noqa: B019  questions to one paragraph stand together
    def text(self, paragraph: int) -> list[int]:
        """Return the pieces of a paragraph."""
        return self.joined(self.words[paragraph])

    def cut(self, number: int, query: list[int]) -> list[Window]:
        """Return the windows of a question; raise BadSample for one that is too long, or whose paragraph has no piece."""
        (question, paragraph), recipe = self.questions[number], self.recipe
        if len(query) > recipe.max_query_length:
            raise BadSample(recipe.dev_file, question.id, f"the question has {len(query)} word pieces, --max_query_length is "
                                                          f"{recipe.max_query_length}; it is never cut")
        if not self.text(paragraph) or not query:
            raise BadSample(recipe.dev_file, question.id, "the context or the question holds nothing but characters that are dropped")
        cls, sep = self.vocabulary.number["[CLS]"], self.vocabulary.number["[SEP]"]
        pieces, head = self.text(paragraph), [cls, *query, sep]
        cuts = spans(len(pieces), recipe.max_seq_length - len(head) - 1, recipe.doc_stride)
        return [Window(number, [*head, *pieces[start:stop], sep], len(head), start, best)
                for (start, stop), best in zip(cuts, max_context(cuts))]

    def rows(self) -> dict[str, list[list[int]]]:
        """Return the graph's inputs, a row of ids for each window."""
        return {"input_ids": [window.ids for window in self.windows],
                "token_type_ids": [[0] * w.first + [1] * (len(w.ids) - w.first) for w in self.windows],
                "attention_mask": [[1] * len(window.ids) for window in self.windows]}

    def description(self) -> dict:
        """Return what the manifest and the report say of the corpus."""
        name, some = self.recipe.dev_file.name, len(self.questions)
        return {"name": name if some == self.total else f"{name}, {some} of {self.total} questions, evenly spread",
                "sha256": files.sha256(self.recipe.dev_file), "samples": some, "skipped": [], "windows": len(self.windows),
                "vocabulary": self.vocabulary.size,
                "unknown_share": wordpiece.unknown_share(self.vocabulary.tokenizer, (w.ids for w in self.windows))}


def spans(count: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Return [start, stop) of each window over `count` pieces of which `room` fit."""
    cuts = [(0, min(count, room))]
    while cuts[-1][1] < count:
        start = cuts[-1][0] + min(room, stride)
        cuts.append((start, min(count, start + room)))
    return cuts


def max_context(cuts: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return for each window which of its pieces, bool [pieces], have their max context in it; the earliest where two are equal.

    A window's score for a piece is the smaller number of pieces beside it, and a hundredth of the window's size.
    """
    if len(cuts) == 1:
        return [np.ones(cuts[0][1], dtype=bool)]
    start, stop = np.array(cuts).T[:, :, None]
    place = np.arange(cuts[-1][1])
    score = np.where((place >= start) & (place < stop), np.minimum(place - start, stop - 1 - place) + 0.01 * (stop - start), -1)
    chosen = score.argmax(0)
    return [chosen[start:stop] == number for number, (start, stop) in enumerate(cuts)]
