"""Start and end logits to answers: the best spans of each question's windows, spelled as its paragraph spells them.

Source  run_squad.py of facebookresearch/SpanBERT at 0670d8b, after google-research/bert; nothing is copied
"""
import itertools
from dataclasses import dataclass

import numpy as np

import squad
from npukit.judge import ledger
from windows import Window, Windows

NOTHING = "empty"  # run_squad.py's answer where no span is possible


@dataclass(frozen=True)
class Spans:
    """Possible answers of a question, best first.

    window      int [K], its number in the corpus
    first, last  int [K], the places in that window's ids
    start, end   float64 [K], their logits
    """

    window: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start: np.ndarray
    end: np.ndarray


def predict(corpus: Windows, logits: np.ndarray, n_best: int = 20, longest: int = 30) -> dict[str, list[dict]]:
    """Return each question's n best answers, as nbest_predictions.json holds them: text, probability, start_logit, end_logit.

    logits   float [windows, L, 2], start and end; what is not finite is no answer
    longest  pieces that an answer may have
    """
    best = {}
    for number, windows in itertools.groupby(enumerate(corpus.windows), key=lambda numbered: numbered[1].question):
        question, paragraph = corpus.questions[number]
        spans = ranked([possible(window, logits[n], n, n_best, longest) for n, window in windows])
        best[question.id] = spelled(corpus, paragraph, spans, n_best)
    return best


def possible(window: Window, logits: np.ndarray, number: int, n_best: int, longest: int) -> Spans:
    """Return the spans of one window among its n best starts and n best ends.

    Both are chosen among all that the window shows, question, [CLS] and [SEP] included; those then take others' places,
    as in run_squad.py. Where two are equal, the earlier comes first.
    """
    start, end = np.where(np.isfinite(logits), logits, np.finfo(np.float32).min)[:len(window.ids)].T.astype(np.float64)
    firsts, lasts = (np.argsort(-scores, kind="stable")[:n_best] for scores in (start, end))
    inside = np.zeros((2, len(start)), dtype=bool)
    text = slice(window.first, window.first + len(window.best))
    inside[0, text], inside[1, text] = window.best, True
    length = lasts - firsts[:, None] + 1
    rows, columns = np.nonzero(inside[0, firsts][:, None] & inside[1, lasts] & (length >= 1) & (length <= longest))
    first, last = firsts[rows], lasts[columns]
    return Spans(np.full(len(first), number), first, last, start[first], end[last])


def ranked(found: list[Spans]) -> Spans:
    """Return the spans of a question's windows as one, best sum of logits first, equal ones in their order."""
    joined = Spans(*(np.concatenate(parts) for parts in zip(*(vars(spans).values() for spans in found))))
    order = np.argsort(-(joined.start + joined.end), kind="stable")
    return Spans(*(values[order] for values in vars(joined).values()))


def spelled(corpus: Windows, paragraph: int, spans: Spans, n_best: int) -> list[dict]:
    """Return the n best different texts of a question's spans with their probabilities, a softmax over these alone."""
    texts = {}
    for n in range(len(spans.first)):
        if len(texts) == n_best:
            break
        text = text_of(corpus, paragraph, corpus.windows[spans.window[n]], int(spans.first[n]), int(spans.last[n]))
        texts.setdefault(text, (float(spans.start[n]), float(spans.end[n])))
    texts = texts or {NOTHING: (0.0, 0.0)}
    scores = np.exp([start + end - sum(next(iter(texts.values()))) for start, end in texts.values()])
    return [{"text": text, "probability": float(score / scores.sum()), "start_logit": start, "end_logit": end}
            for (text, (start, end)), score in zip(texts.items(), scores)]


def text_of(corpus: Windows, paragraph: int, window: Window, first: int, last: int) -> str:
    """Return a span's text: its words, without what stands around it in the first and the last one."""
    word_of, begin = corpus.word_of[paragraph], window.start - window.first
    words = corpus.words[paragraph][word_of[begin + first]:word_of[begin + last] + 1]
    pieces = " ".join(corpus.piece[number] for number in window.ids[first:last + 1])
    wanted = pieces.replace(" ##", "").replace("##", "").strip()
    return cut_out(wanted, " ".join(words), " ".join(filter(None, map(corpus.parts, words))))


def cut_out(wanted: str, text: str, parts: str) -> str:
    """Return the part of `text` that reads as `wanted`; all of it where that cannot be told.

    wanted  pieces joined to words, punctuation apart: "AFC"
    text    the words as they stand, one blank in between: "Conference (AFC)"
    parts   the same, normalised and punctuation apart: "Conference ( AFC )"
    """
    at = parts.find(wanted)
    if at < 0 or not wanted or parts[at] == " " or len(parts) - parts.count(" ") != len(text) - text.count(" "):
        return text
    before, letters = at - parts.count(" ", 0, at), len(wanted) - wanted.count(" ")
    places = [place for place, letter in enumerate(text) if letter != " "]
    return text[places[before]:places[before + letters - 1] + 1]


def task(corpus: Windows, n_best: int = 20, longest: int = 30) -> ledger.Task:
    """Return what the answers, float [windows, L, 2] and 0 behind each window's ids, mean.

    The decisions are each window's start and its end, among its own places: [2 * windows, L].
    """
    sample = np.repeat(np.arange(len(corpus.windows)), 2)

    def decisions(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.arange(logits.shape[1]) < corpus.lengths[:, None]
        rows = logits.transpose(0, 2, 1).reshape(len(sample), -1)
        lowest = np.where(inside[sample], rows, np.inf).min(1)
        return np.where(inside[sample], rows, lowest[:, None]), sample

    return ledger.Task(decisions, lambda logits: fractions(corpus, predict(corpus, logits, n_best, longest)))


def fractions(corpus: Windows, best: dict[str, list[dict]]) -> dict[str, float]:
    """Return the official score of the best answers, as fractions."""
    percent = squad.score(corpus.paragraphs, {name: answers[0]["text"] for name, answers in best.items()})
    return {name: value / 100 for name, value in percent.items()}
