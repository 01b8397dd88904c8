"""SQuAD's files: read as they are, refused by id where they are not; the score against the official script's rules."""
import json
import re
import string
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpora import need
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import squad
from npukit.errors import BadSample, UserError

TINY = HERE.parents[1] / "data" / "tiny" / "spanbert" / "dev-v1.1.json"
CONTEXT = "Anna Brandt built the lighthouse in 1871."


def qa(name="q1", question="Who built it?", answers=(("Anna Brandt", 0),), **more):
    return {"id": name, "question": question, "answers": [{"text": t, "answer_start": s} for t, s in answers], **more}


def file_of(*qas, context=CONTEXT):
    return {"version": "1.1", "data": [{"title": "A", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


@pytest.fixture
def written(tmp_path):
    """A function: write a value, or text, and return the path."""
    def write(content):
        path = tmp_path / "dev.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path
    return write


# --- Reading


def test_the_released_dev_part():
    paragraphs = squad.read(need("squad/dev-v1.1.json"))
    questions = [question for paragraph in paragraphs for question in paragraph.questions]
    assert (len(paragraphs), len(questions), len({q.id for q in questions})) == (2067, 10570, 10570)
    assert sorted(Counter(len(q.answers) for q in questions).items()) == [(1, 3), (2, 136), (3, 8490), (4, 759),
                                                                          (5, 1147), (6, 35)]
    assert all(answer in paragraph.context for paragraph in paragraphs for q in paragraph.questions
               for answer in q.answers)


def test_what_is_read(written):
    [paragraph] = squad.read(written(file_of(qa(answers=(("Anna Brandt", 0), ("Anna", 0))),
                                             qa("q2", "When?", [("1871", 36)]))))
    assert paragraph == squad.Paragraph(CONTEXT, (squad.Question("q1", "Who built it?", ("Anna Brandt", "Anna")),
                                                  squad.Question("q2", "When?", ("1871",))))


def without(key):
    return {name: value for name, value in qa().items() if name != key}


REFUSED = [
    (file_of(without("id")), r"dev\.json:article 1, paragraph 1, question 1: expected a text 'id', found no such key"),
    (file_of(qa("")), r"question 1: the question has no id"),
    (file_of(qa(), qa()),
     r"dev\.json:q1: the id stands there twice \(article 1, paragraph 1, question 2 is the second\)"),
    (file_of(qa(answers=[("Anna", 1)])),
     r"dev\.json:q1: the answer 'Anna' does not stand in the context at character 1"),
    (file_of(qa(answers=[("Anna", -41)])), "q1: the answer 'Anna' does not stand in the context at character -41"),
    (file_of(qa(answers=[("lighthouse of Ellery", 22)])), "q1: the answer 'lighthouse of Ellery' does not stand"),
    (file_of(qa(answers=[("", 3)])), "q1: the answer '' does not stand"),
    (file_of(qa(answers=[])), "q1: the question has no answer; version 2 of SQuAD needs --version_2_with_negative"),
    (file_of(qa(is_impossible=True)), "q1: the question has no answer; version 2"),
    (file_of(qa(question=" ")), "q1: the question is empty"),
    (file_of(qa(question=None)), "q1: expected a text 'question', found None"),
    (file_of(without("answers")), "q1: expected a list 'answers', found no such key"),
    (file_of({**qa(), "answers": [{"text": "Anna", "answer_start": "0"}]}),
     "q1: expected a number 'answer_start', found '0'"),
    (file_of({**qa(), "answers": [{"text": "Anna", "answer_start": True}]}),
     "q1: expected a number 'answer_start', found True"),
    (file_of({**qa(), "answers": ["Anna"]}), "q1: expected a text 'text', found 'Anna'"),
    (file_of("q"), "question 1: expected a text 'id', found 'q'"),
    (file_of(context=""), r"dev\.json:article 1, paragraph 1: the context is empty"),
    (file_of(context=" \n"), "article 1, paragraph 1: the context is empty"),
    ({"data": [{"paragraphs": [{"qas": []}]}]}, "article 1, paragraph 1: expected a text 'context'"),
    ({"data": [{}]}, "article 1: expected a list 'paragraphs'"),
    ({"data": {}}, "the file: expected a list 'data', found {}"),
    ([], r"the file: expected a list 'data', found \[\]"),
]


@pytest.mark.parametrize("content, reason", REFUSED, ids=[re.sub(r"\W+", " ", reason)[:50] for _, reason in REFUSED])
def test_a_bad_sample_is_refused_with_file_and_id(written, content, reason):
    with pytest.raises(BadSample, match=reason):
        squad.read(written(content))


@pytest.mark.parametrize("content, reason", [
    ('{"data": [', "is not whole JSON"), ({"data": []}, "holds no question"), (file_of(), "holds no question")])
def test_a_bad_file_is_refused(written, content, reason):
    with pytest.raises(UserError, match=reason):
        squad.read(written(content))


def test_a_missing_file_names_the_command_that_fetches_it(tmp_path):
    with pytest.raises(UserError, match=r"no\.json is not there; `make MODEL=spanbert fetch`"):
        squad.read(tmp_path / "no.json")


def test_version_2_is_read_where_it_is_expected(written):
    path = written(file_of(qa(answers=[], is_impossible=True), qa("q2")))
    [paragraph] = squad.read(path, without_answers=True)
    assert [question.answers for question in paragraph.questions] == [(), ("Anna Brandt",)]


@pytest.mark.parametrize("count", [1, 2, 7, 23, 24])
def test_some_questions_evenly_spread(count):
    paragraphs = squad.read(TINY)
    whole = [question for paragraph in paragraphs for question in paragraph.questions]
    some = squad.spread(paragraphs, count)
    kept = [whole.index(question) for paragraph in some for question in paragraph.questions]
    assert len(kept) == count and kept == sorted(kept) and all(paragraph.questions for paragraph in some)
    gaps = np.diff([*kept, kept[0] + 24])
    assert gaps.max() - gaps.min() <= 1, "evenly"


@pytest.mark.parametrize("count", [0, -1, 25])
def test_too_few_and_too_many_questions(count):
    with pytest.raises(UserError, match=rf"--questions is {count}, the file has 24"):
        squad.spread(squad.read(TINY), count)


# --- The score, by the rules of evaluate-v1.1: written down here once more, plainly, from their description


def plain_normal(text):
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE).split())


def plain_f1(answer, truth):
    answer, truth = plain_normal(answer).split(), plain_normal(truth).split()
    shared = sum(min(answer.count(word), truth.count(word)) for word in set(answer))
    if shared == 0:
        return 0
    precision, recall = 1.0 * shared / len(answer), 1.0 * shared / len(truth)
    return (2 * precision * recall) / (precision + recall)


def plain_score(data, predictions):
    """The official loop: articles, paragraphs, questions of the raw file, summed one by one."""
    f1 = exact_match = total = 0
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                total += 1
                if entry["id"] not in predictions:
                    continue
                answer, truths = predictions[entry["id"]], [truth["text"] for truth in entry["answers"]]
                exact_match += max(plain_normal(answer) == plain_normal(truth) for truth in truths)
                f1 += max(plain_f1(answer, truth) for truth in truths)
    return {"exact_match": 100.0 * exact_match / total, "f1": 100.0 * f1 / total}


def nearly(context, truth, start, chance):
    """Return an answer as a network gives it: right, or with a word or a letter too many or too few, other signs, or elsewhere."""
    end, kind = start + len(truth), chance.integers(8)
    if kind == 0:
        return truth
    if kind == 1:
        return "The " + truth.upper() + " (a)."
    if kind == 2:
        return ""
    first, last = np.clip([start + chance.integers(-25, 10), end + chance.integers(-9, 30)], 0, len(context))
    return context[first:max(first,
                             last)] if kind < 7 else context[chance.integers(len(context)):][:chance.integers(1, 60)]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_score_is_the_official_one_to_the_last_digit(seed):
    path, chance, predictions = need("squad/dev-v1.1.json"), np.random.default_rng(seed), {}
    data = json.loads(path.read_text())
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                truth = entry["answers"][chance.integers(len(entry["answers"]))]
                if chance.random() > 0.01:
                    predictions[entry["id"]] = nearly(paragraph["context"], truth["text"], truth["answer_start"],
                                                      chance)
    found = squad.score(squad.read(path), predictions)
    assert found == plain_score(data, predictions), "equal, not nearly"
    assert 15 < found["exact_match"] < 60 and found["exact_match"] + 10 < found["f1"] < 90, "or nothing much was compared"


ODD = ["the", "a", "An", "theme", "Brandt", "Brandt,", "1871", "3,000", "it's", "—", "é", ".", "the-end", "\u00a0", "ʼ"]
WORDS = st.lists(st.sampled_from(ODD), max_size=5).map(" ".join)


@given(st.lists(st.tuples(WORDS, st.lists(WORDS.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=5))
def test_the_score_of_odd_answers_is_the_official_one(cases):
    qas = [{"id": str(n), "question": "?", "answers": [{"text": text} for text in truths]}
           for n, (_, truths) in enumerate(cases)]
    paragraphs = [squad.Paragraph("", tuple(squad.Question(q["id"], "?", tuple(a["text"] for a in q["answers"]))
                                            for q in qas))]
    predictions = {str(n): answer for n, (answer, _) in enumerate(cases)}
    assert squad.score(paragraphs, predictions) == plain_score({"data": [{"paragraphs": [{"context": "",
                                                                                          "qas": qas}]}]}, predictions)


@pytest.mark.parametrize("answer, exact, f1", [
    ("Anna Brandt", 100, 100), ("the anna  BRANDT!", 100, 100), ("Anna", 0, 200 / 3), ("", 0, 0),
    ("Brandt Anna", 0, 100), ("Peter", 0, 0)])
def test_the_score_by_hand(written, answer, exact, f1):
    assert squad.score(squad.read(written(file_of(qa()))),
                       {"q1": answer}) == pytest.approx({"exact_match": exact, "f1": f1})


def test_a_question_that_is_not_answered_counts(written):
    paragraphs = squad.read(written(file_of(qa(), qa("q2"))))
    assert squad.score(paragraphs, {"q2": "Anna Brandt"}) == {"exact_match": 50, "f1": 50}
