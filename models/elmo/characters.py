"""Words as characters, as allennlp's batch_to_ids spells them.

Ids: 0 no character (there is no word), 1..256 a byte of the word's UTF-8 plus one, then those below. A word's first 48 bytes
count; an id for its begin stands before them, one for its end behind, padding fills up to 50.

Source  allenai/allennlp 2.10.1, data/token_indexers/elmo_indexer.py
"""
import numpy as np

CHARACTERS = 50  # of a word
BEGIN, END = 257, 258  # what stands in <S> and </S> instead of bytes
WORD_BEGIN, WORD_END, PADDING = 259, 260, 261
IDS = 262  # how many there are, 0 included
BOUNDARIES = {"<S>": BEGIN, "</S>": END}


def word_to_ids(word: str) -> np.ndarray:
    """Return a word's characters, int32 [50], none of them 0; `<S>` and `</S>` are the sentence's boundaries."""
    if word in BOUNDARIES:
        return spell([BOUNDARIES[word]])
    return spell([byte + 1 for byte in word.encode("utf-8", "ignore")[:CHARACTERS - 2]])


def spell(ids: list[int]) -> np.ndarray:
    """Return int32 [50]: the begin of a word, the ids, the end of a word, padding."""
    spelled = np.full(CHARACTERS, PADDING, dtype=np.int32)
    spelled[:len(ids) + 2] = [WORD_BEGIN, *ids, WORD_END]
    return spelled


def sentence_to_ids(words: list[str]) -> np.ndarray:
    """Return int32 [L, 50]."""
    return np.stack([word_to_ids(word) for word in words])


def batch_to_ids(sentences: list[list[str]], length: int | None = None) -> np.ndarray:
    """Return int32 [N, L, 50], L the longest sentence's words or `length`; 0 behind each sentence."""
    batch = np.zeros((len(sentences), length or max(map(len, sentences)), CHARACTERS), dtype=np.int32)
    for row, words in zip(batch, sentences):
        row[:len(words)] = sentence_to_ids(words)
    return batch
