"""SQuAD as it is released: articles, their paragraphs, the questions to each with their answers; and its official score.

    {"version": "1.1", "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}]}]}]}]}

answer_start counts characters of the context. Version 2 has questions without an answer ("is_impossible": true).
"""
import collections
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from npukit.errors import BadSample, UserError

SPACES = " \t\r\n\N{NARROW NO-BREAK SPACE}"  # what run_squad.py separates words by
KINDS = {list: "a list", str: "a text", int: "a number"}


@dataclass(frozen=True)
class Question:
    """One question: its id and text, and the answers that were given, one to six; none where there is no answer."""

    id: str
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Paragraph:
    """The text of a context and the questions to it."""

    context: str
    questions: tuple[Question, ...]


def words(text: str) -> list[str]:
    """Return what stands between spaces; answers are spelled with a context's words, one blank in between."""
    return [word for word in re.split(f"[{SPACES}]+", text) if word]


def read(path: Path, without_answers: bool = False) -> list[Paragraph]:
    """Return the paragraphs of a SQuAD file in order, every sample checked.

    without_answers  version 2 is expected: questions need no answer
    raises           BadSample with the question's id, or its place where it has none
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; `make MODEL=spanbert fetch` brings the corpus")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON: {error}") from None
    paragraphs, seen = [], set()
    for place, paragraph in walk(path, content):
        paragraphs.append(checked(path, place, paragraph, seen, without_answers))
    if not seen:
        raise UserError(f"{path} holds no question; expected SQuAD's data, paragraphs, qas")
    return paragraphs


def walk(path: Path, content) -> Iterator[tuple[str, dict]]:
    """Yield every paragraph with its place in words."""
    for number, article in enumerate(field(path, "the file", content, "data", list), 1):
        place = f"article {number}"
        for nth, paragraph in enumerate(field(path, place, article, "paragraphs", list), 1):
            yield f"{place}, paragraph {nth}", paragraph


def checked(path: Path, place: str, paragraph, seen: set[str], without_answers: bool) -> Paragraph:
    """Turn a paragraph of the file into ours."""
    context = field(path, place, paragraph, "context", str)
    if not context.strip():
        raise BadSample(path, place, "the context is empty")
    questions = []
    for number, entry in enumerate(field(path, place, paragraph, "qas", list), 1):
        where = f"{place}, question {number}"
        name = field(path, where, entry, "id", str)
        if not name:
            raise BadSample(path, where, "the question has no id")
        if name in seen:
            raise BadSample(path, name, f"the id stands there twice ({where} is the second)")
        seen.add(name)
        questions.append(question(path, name, entry, context, without_answers))
    return Paragraph(context, tuple(questions))


def question(path: Path, name: str, entry: dict, context: str, without_answers: bool) -> Question:
    """Turn a question of the file into ours."""
    text = field(path, name, entry, "question", str)
    if not text.strip():
        raise BadSample(path, name, "the question is empty")
    answers = field(path, name, entry, "answers", list)
    unanswered = entry.get("is_impossible", False) or not answers
    if unanswered and not without_answers:
        raise BadSample(path, name, "the question has no answer; version 2 of SQuAD needs --version_2_with_negative")
    for answer in answers:
        given, start = (field(path, name, answer, key, kind) for key, kind in (("text", str), ("answer_start", int)))
        if start < 0 or context[start:start + len(given)] != given or not given:
            raise BadSample(path, name, f"the answer {given[:40]!r} does not stand in the context at character {start}")
    return Question(name, text, () if unanswered else tuple(answer["text"] for answer in answers))


def field(path: Path, place: str, entry, key: str, kind: type):
    """Return entry[key]; raise BadSample where it is missing or of another kind."""
    missing = not isinstance(entry, dict) or key not in entry
    if missing or not isinstance(entry[key], kind) or isinstance(entry[key], bool):
        found = "no such key" if missing and isinstance(entry, dict) else repr(entry if missing else entry[key])
        raise BadSample(path, place, f"expected {KINDS[kind]} {key!r}, found {found[:60]}")
    return entry[key]


def spread(paragraphs: list[Paragraph], count: int) -> list[Paragraph]:
    """Return the paragraphs of `count` questions that are evenly spread over all, with these questions alone."""
    total = sum(len(paragraph.questions) for paragraph in paragraphs)
    if not 1 <= count <= total:
        raise UserError(f"--questions is {count}, the file has {total}")
    wanted = {number * total // count for number in range(count)}
    kept, number = [], 0
    for paragraph in paragraphs:
        questions = [q for q in paragraph.questions if (number := number + 1) - 1 in wanted]
        if questions:
            kept.append(Paragraph(paragraph.context, tuple(questions)))
    return kept


# --- The official score: evaluate-v1.1.py of rajpurkar.github.io/SQuAD-explorer

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Return an answer as it is compared: lower case, no ASCII punctuation, no articles, one blank between words."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def overlap(answer: list[str], truth: list[str]) -> float:
    """Return the F1 of an answer's words, as a bag, with a truth's."""
    same = sum((collections.Counter(answer) & collections.Counter(truth)).values())
    if not same:
        return 0.0
    precision, recall = same / len(answer), same / len(truth)
    return 2 * precision * recall / (precision + recall)


def score(paragraphs: list[Paragraph], predictions: dict[str, str]) -> dict[str, float]:
    """Return exact_match and f1 in percent, each question's best over its answers; one that is not predicted counts 0.

    The sums run over the file's order and nothing else is rounded, so the digits are the official script's.
    """
    exact = f1 = total = 0
    for question in (question for paragraph in paragraphs for question in paragraph.questions):
        total += 1
        if question.id not in predictions:
            continue
        answer = normalized(predictions[question.id])
        truths = [normalized(truth) for truth in question.answers]
        exact += answer in truths
        f1 += max(overlap(answer.split(), truth.split()) for truth in truths)
    return {"exact_match": 100.0 * exact / total, "f1": 100.0 * f1 / total}
