"""From sentences to the network's samples and from its logits back to the words' tags: the right way, and the original's.

npukit    words are split into word pieces between [CLS] and [SEP]; a word's tag is its first piece's. More pieces
          than a sample holds are read in windows that overlap by half, and each piece counts in the window whose middle is
          nearest: nothing is cut
original  whole words are looked up, so that a word which is no piece of the vocabulary becomes [UNK]; words in capitals are
          lowered first, for a vocabulary that knows case; there is no [CLS] and no [SEP]

Source  the original's way: ModelZoo-PyTorch 1a136bb, ACL_PyTorch/contrib/nlp/bert_large_NER/bin_create.py
"""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conll2003 import TAG_ID, TAGS, Sentence, entities, iob2_of
from npukit.corpus.store import Input, load
from npukit.errors import BadSample, UserError
from npukit.judge import ledger, metrics

INPUTS = {name: Input(name) for name in ("input_ids", "attention_mask", "token_type_ids")}  # in graph order
METRIC = {"npukit": "f1", "original": "token_accuracy"}  # what each recipe is judged by


@dataclass(frozen=True)
class Samples:
    """What the network reads.

    rows   ids of each sample
    words  int64 [W, 4], a word of the corpus a row: its sentence, the sample and the place in it that its tag is read from,
           its true tag; sentences and samples ascend
    """

    rows: list[list[int]]
    words: np.ndarray

    def inputs(self) -> dict[str, list[list[int]]]:
        """Return the rows of the three inputs, in graph order."""
        values = (self.rows, [[1] * len(row) for row in self.rows], [[0] * len(row) for row in self.rows])
        return dict(zip(INPUTS, values))


def encode(path: Path, sentences: list[Sentence], tokenizer, recipe: str, longest: int) -> Samples:
    """Return the samples of a recipe, none longer than `longest`.

    path, tokenizer  the file the sentences come from, for messages; npukit.corpus.wordpiece.load's
    raises           BadSample with file:line for a word of which the tokenizer keeps nothing and, with the original's recipe,
                     for a sentence of more words than `longest`
    """
    if recipe == "npukit" and longest < 3:
        raise UserError(f"a length of {longest} holds no word piece between [CLS] and [SEP]; give --seq_len 3 or more")
    split = pieces(path, sentences, tokenizer) if recipe == "npukit" else whole_words(path, sentences, tokenizer, longest)
    begin, end = ([tokenizer.token_to_id("[CLS]")], [tokenizer.token_to_id("[SEP]")]) if recipe == "npukit" else ([], [])
    limit = longest - len(begin) - len(end)
    rows, words = [], []
    for number, (sentence, (ids, firsts)) in enumerate(zip(sentences, split)):
        places = windows(len(ids), limit)
        middles = np.array([(start + stop) / 2 for start, stop in places])
        for first, tag in zip(firsts, sentence.tags):
            window = int(np.abs(middles - first - 0.5).argmin())
            words.append((number, len(rows) + window, first - places[window][0] + len(begin), TAG_ID[tag]))
        rows += [[*begin, *ids[start:stop], *end] for start, stop in places]
    return Samples(rows, np.array(words))


def pieces(path: Path, sentences: list[Sentence], tokenizer) -> list[tuple[list[int], list[int]]]:
    """Return (ids, where each word begins in them) of every sentence."""
    encoded = tokenizer.encode_batch([list(s.words) for s in sentences], is_pretokenized=True, add_special_tokens=False)
    split = []
    for sentence, made in zip(sentences, encoded):
        places = dict(zip(reversed(made.word_ids), range(len(made.ids) - 1, -1, -1)))  # of several the first stays
        for word, (line, text) in enumerate(zip(sentence.lines, sentence.words)):
            if word not in places:
                raise BadSample(path, line, f"the tokenizer keeps nothing of the word {text!r}; remove it or spell it out")
        split.append((made.ids, [places[word] for word in range(len(sentence.words))]))
    return split


def whole_words(path: Path, sentences: list[Sentence], tokenizer, longest: int) -> list[tuple[list[int], range]]:
    """Return the same for words that are looked up as they are, words in capitals lowered."""
    vocabulary, unknown, split = tokenizer.get_vocab(), tokenizer.token_to_id("[UNK]"), []
    for sentence in sentences:
        if len(sentence.words) > longest:
            raise BadSample(path, sentence.lines[0], f"the sentence has {len(sentence.words)} words; the original's recipe has no answer "
                                                     f"to more than {longest}, and nothing is cut")
        lowered = [word.lower() if word.isupper() else word for word in sentence.words]
        split.append(([vocabulary.get(word, unknown) for word in lowered], range(len(lowered))))
    return split


def windows(count: int, limit: int) -> list[tuple[int, int]]:
    """Return (start, stop) of windows of at most `limit` that cover `count` pieces and overlap by half; one where they fit."""
    last = max(0, count - limit)
    return [(start, min(start + limit, count)) for start in (*range(0, last, max(1, limit // 2)), last)]


def read_words(path: Path) -> np.ndarray:
    """Return preprocess.py's words.npy, int64 [W, 4]; see Samples."""
    words = load(path)
    if words.ndim != 2 or words.shape[1:] != (4,) or not len(words) or not 0 <= words[:, 3].min() <= words[:, 3].max() < len(TAGS):
        raise UserError(f"{path} does not hold words with a tag each; preprocess.py writes it")
    return words


def predicted(logits: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return the tag of each word, int [W], from logits float [samples, L, T]."""
    return logits[words[:, 1], words[:, 2]].argmax(-1)


def by_sentence(words: np.ndarray, tags: np.ndarray) -> list[list[str]]:
    """Return the tags' names, a list a sentence, of tags int [W]."""
    ends = np.flatnonzero(np.diff(words[:, 0])) + 1
    return [[TAGS[tag] for tag in sentence] for sentence in np.split(tags, ends)]


def score(words: np.ndarray, tags: np.ndarray) -> tuple[dict, dict]:
    """Return what the tags int [W] score against the true ones, as fractions, and {type: precision, recall, f1}.

    precision, recall, f1   of entities in IOB2, strict as seqeval reads it
    conlleval_f1            with an I- that follows nothing read as a beginning, as conlleval does: the same where there is none
    token_accuracy          of words' tags, the original's only figure
    all_o_accuracy          what answering O everywhere would score by it
    """
    truth = list(map(entities, by_sentence(words, words[:, 3])))
    answers = by_sentence(words, tags)
    overall, by_type = metrics.entity_scores(truth, list(map(entities, answers)))
    lenient, _ = metrics.entity_scores(truth, [entities(iob2_of(sentence)) for sentence in answers])
    return {**overall, "conlleval_f1": lenient["f1"], "token_accuracy": float((tags == words[:, 3]).mean()),
            "all_o_accuracy": float((words[:, 3] == TAG_ID["O"]).mean())}, by_type


def task(inputs: Path) -> ledger.Task:
    """Return what the logits [samples, L, T] to preprocess.py's inputs mean."""
    return task_of(read_words(inputs / "words.npy"))


def task_of(words: np.ndarray) -> ledger.Task:
    """Return what logits [samples, L, T] mean for these words: a decision a word, judged by the entities."""
    return ledger.Task(decisions=lambda logits: (logits[words[:, 1], words[:, 2]], words[:, 1]),
                       metrics=lambda logits: score(words, predicted(logits, words))[0])
