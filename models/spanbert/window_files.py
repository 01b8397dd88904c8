"""What preprocess.py leaves of the windows for later stages, so that none of them tokenises the corpus again.

    windows.npz   question, first, start int64 [windows]; best bool [pieces], all windows' one after another;
                  word_of int64 [pieces], all paragraphs' one after another; pieces int64 [paragraphs], of each
    windows.json  max_seq_length; paragraphs, contexts and questions; piece, the word pieces that occur, by id; parts, the
                  words that tokenisation spells otherwise
    the inputs    as npukit.corpus.store has them
"""
from pathlib import Path

import numpy as np

import squad
from npukit import files
from npukit.corpus import store
from npukit.errors import UserError
from windows import INPUTS, Corpus, Window, Windows


def write(folder: Path, corpus: Corpus, seq_lens: list[int], description: dict) -> None:
    """Write a corpus' windows and then its inputs, whose manifest comes last."""
    (folder / "manifest.json").unlink(missing_ok=True)
    windows = corpus.windows
    with files.aside(folder / "windows.npz") as new, open(new, "wb") as file:
        np.savez(file, question=[w.question for w in windows], first=[w.first for w in windows], start=[w.start for w in windows],
                 best=np.concatenate([w.best for w in windows]), word_of=np.concatenate(corpus.word_of).astype(int),
                 pieces=[len(word_of) for word_of in corpus.word_of])
    parts = {word: corpus.parts(word) for words in corpus.words for word in words}
    files.write_json(folder / "windows.json", {
        "max_seq_length": corpus.max_seq_length,
        "paragraphs": [[p.context, [[q.id, q.text, q.answers] for q in p.questions]] for p in corpus.paragraphs],
        "piece": {number: corpus.piece[number] for number in sorted({number for w in windows for number in w.ids})},
        "parts": {word: part for word, part in parts.items() if part != word}})
    store.write(folder, INPUTS, corpus.rows(), seq_lens, description)


def read(folder: Path) -> tuple[Windows, dict, store.Samples]:
    """Return (windows, manifest, the graph's inputs) of what preprocess.py left.

    raises  UserError where files are missing or do not belong together, or two inputs were swapped
    """
    manifest, samples = store.read(folder)
    told, arrays = files.read_json(folder / "windows.json"), store.load(folder / "windows.npz")
    paragraphs = [squad.Paragraph(context, tuple(squad.Question(name, text, tuple(answers)) for name, text, answers in questions))
                  for context, questions in told["paragraphs"]]
    made, ends = Windows(told["max_seq_length"], paragraphs), np.cumsum(samples.lengths)
    made.piece = {int(number): piece for number, piece in told["piece"].items()}
    made.parts = lambda word: told["parts"].get(word, word)
    made.word_of = np.split(arrays["word_of"], np.cumsum(arrays["pieces"])[:-1])
    question, first, start, best = (arrays[name] for name in ("question", "first", "start", "best"))
    shown = samples.lengths - first - 1 if len(first) == len(samples) else np.array([-1])  # between the head and the last [SEP]
    if shown.min() < 1 or shown.sum() != len(best):
        raise UserError(f"{folder} holds windows.npz and inputs that do not belong together; run preprocess.py again")
    require_paired(samples, folder)
    ids = np.split(samples.flat["input_ids"], ends[:-1])
    made.windows = [Window(*each) for each in zip(question.tolist(), map(np.ndarray.tolist, ids), first.tolist(), start.tolist(),
                                                  np.split(best, np.cumsum(shown)[:-1]))]
    return made, manifest, samples


def require_paired(samples: store.Samples, folder: Path) -> None:
    """Raise UserError where inputs are not ids, segments and mask, in this order: two may be swapped.

    A mask is 1; segments are 0, then 1 up to the window's end.
    """
    _, segments, mask = samples.flat.values()
    starts = np.cumsum(samples.lengths) - samples.lengths
    place = np.arange(len(mask)) - np.repeat(starts, samples.lengths)
    first = samples.lengths - np.add.reduceat(segments, starts)
    paired = (list(samples.flat) == list(INPUTS) and (mask == 1).all() and (first > 0).all()
              and np.array_equal(segments, place >= np.repeat(first, samples.lengths)))
    if not paired:
        raise UserError(f"{folder}: {', '.join(samples.flat)} are not the graph's inputs, in this order "
                        f"{', '.join(f'{name} (in {spec.name})' for name, spec in INPUTS.items())}. Were two swapped?")
