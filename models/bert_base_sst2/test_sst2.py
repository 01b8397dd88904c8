"""The corpus: every line is read as it stands or answered with its place and a reason; word pieces, labels, accuracy."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from corpora import need
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import accuracy_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from transformers import AutoTokenizer

import sst2
from npukit.corpus.wordpiece import LONGEST
from npukit.corpus.wordpiece import load as load_tokenizer
from npukit.errors import BadSample, UserError
from sst2 import HEADER, Sentence, accuracy, encode, read, read_labels

TINY = HERE.parents[1] / "data" / "tiny" / "bert_base_sst2"
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
GOOD = "a warm and funny film . \t1"

LINES = {  # a line: what its answer says
    "": "expected a sentence, one tab and a label, found 0 tabs",
    "   ": "found 0 tabs",
    "a warm film 1": "expected a sentence, one tab and a label, found 0 tabs",
    "a warm film\\t1": "found 0 tabs",
    "a warm\tfilm\t1": "found 2 tabs",
    "a warm film\t\t1": "found 2 tabs",
    "a warm film\t1\t": "found 2 tabs",
    "0\ta warm film\t1": "found 2 tabs",
    "a warm film\t": "the label is '', expected 0 or 1",
    "a warm film\t2": "the label is '2', expected 0 or 1",
    "a warm film\t-1": "the label is '-1'",
    "a warm film\t10": "the label is '10'",
    "a warm film\t01": "the label is '01'",
    "a warm film\t1.0": "the label is '1.0'",
    "a warm film\t 1": "the label is ' 1'",
    "a warm film\t1 ": "the label is '1 '",
    "a warm film\tpositive": "the label is 'positive'",
    "a warm film\tTrue": "the label is 'True'",
    "a warm film\t１": "the label is '１'",
    "1\ta warm film": "the label is 'a warm film'",
    HEADER: "the label is 'label'",
    "\t1": "the sentence is empty",
    "  \t0": "the sentence is empty",
    "\u3000\u00a0\t0": "the sentence is empty",
    "a warm film\t1\r": "the line ends in CR LF or holds a CR",
    "a warm\rfilm\t1": "the line ends in CR LF or holds a CR",
}
HEADERS = ["", "\n", GOOD, "sentence label", "sentence\tlabel\t", " sentence\tlabel", "Sentence\tLabel",
           "label\tsentence",
           "index\tsentence", "\ufeffsentence\tlabel", "sentence\\tlabel"]
ENCODINGS = {"latin-1": "caf\xe9\t1".encode("latin-1"), "utf-16": "a film\t1".encode("utf-16"),
             "gbk": "好\t1".encode("gbk"),
             "cut within a character": "a film …".encode()[:-1], "half a character": b"\xed\xa0\x80\t1"}


@pytest.fixture
def corpus(tmp_path):
    """Return a function that writes lines (str or bytes) to dev.tsv and returns its path."""

    def write(*lines, end=b"\n"):
        path = tmp_path / "dev.tsv"
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + end for line in lines))
        return path

    return write


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(TINY)


def refused(path, place, tokenizer=None):
    """Read a file that has to end with this place; return the reason."""
    with pytest.raises(BadSample) as caught:
        list(encode(path, tokenizer) if tokenizer else read(path))
    start = f"{path}:{place}: "
    assert str(caught.value).startswith(start) and caught.value.brief.startswith(f"dev.tsv:{place}: ")
    assert "\n" not in str(caught.value) and str(caught.value).encode(), "one line that can be printed and stored"
    return str(caught.value).removeprefix(start)


@pytest.mark.parametrize("line", LINES, ids=ascii)
def test_a_malformed_line_is_answered_with_its_place_and_a_reason(corpus, line):
    assert LINES[line] in refused(corpus(HEADER, GOOD, line, GOOD), 3)


@pytest.mark.parametrize("header", HEADERS, ids=ascii)
def test_a_missing_header(corpus, header):
    assert r"expected the header 'sentence\tlabel', found '" in refused(corpus(header, GOOD), 1)


def test_a_header_from_another_system(corpus):
    assert "the line ends in CR LF" in refused(corpus(HEADER, GOOD, end=b"\r\n"), 1)


@pytest.mark.parametrize("line", ENCODINGS.values(), ids=ENCODINGS)
def test_another_encoding_is_named(corpus, line):
    reason = refused(corpus(HEADER, GOOD, line), 3)
    assert reason.startswith("byte ") and reason.endswith("is not UTF-8; convert the file, for instance with iconv")
    assert "is not UTF-8" in refused(corpus("sentence\tlabel".encode("utf-16")), 1)


@pytest.mark.parametrize("content", [(), (HEADER,)], ids=["empty", "header only"])
def test_a_file_without_a_sentence(corpus, content):
    with pytest.raises(UserError, match=r"dev\.tsv holds no sentence; expected the header"):
        list(read(corpus(*content)))


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "dev.tsv", tmp_path):
        with pytest.raises(UserError, match=r"is not there; `make MODEL=bert_base_sst2 fetch` brings the corpus"):
            list(read(path))


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_line_may_lack_its_end(corpus, end):
    assert list(read(corpus(f"{HEADER}\n{GOOD}\n{GOOD}{end}", end=b""))) == [
        Sentence(2, "a warm and funny film . ", 1), Sentence(3, "a warm and funny film . ", 1)]


@pytest.mark.parametrize("text", ["a", " a ", "a\u2028b", "a\x0bb", "caf\xe9 …", "😀", 'a "quote', "a\\tb", "[SEP]",
                                  "x" * 10_000])
def test_a_sentence_is_never_cut_nor_changed(corpus, text):
    assert list(read(corpus(HEADER, f"{text}\t0"))) == [Sentence(2, text, 0)]


@SHARED_FOLDER
@given(st.booleans(), st.lists(st.binary(max_size=60) | st.text(max_size=20).map(lambda text: f"{text}\t1".encode())
                               | st.sampled_from([line.encode() for line in [*LINES, GOOD]]), max_size=5))
def test_no_bytes_ever_end_in_a_traceback(corpus, tokenizer, header, lines):
    path = corpus(*[HEADER] * header, *lines)
    try:
        found = list(encode(path, tokenizer))
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    content = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")[1:]
    assert [f"{sentence.text}\t{sentence.label}" for sentence, _ in found] == content
    assert [sentence.line for sentence, _ in found] == list(range(2, len(content) + 2))


# --- Word pieces


def pieces(count):
    """Return a sentence of so many word pieces, [CLS] and [SEP] included."""
    return " ".join("a" * (count - 2))


@SHARED_FOLDER
@given(st.lists(st.text("aab ,.[]'\u00e9中😀", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=20))
def test_the_pieces_are_those_of_transformers_one_by_one(corpus, tokenizer, texts):
    oracle = AutoTokenizer.from_pretrained(TINY)
    alone = [oracle(text)["input_ids"] for text in texts]
    found = list(encode(corpus(HEADER, *[f"{text}\t1" for text in texts]), tokenizer))
    assert [(sentence.text, ids) for sentence, ids in found] == list(zip(texts, alone))
    assert all(ids[0] == oracle.cls_token_id and ids[-1] == oracle.sep_token_id for _, ids in found)


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_the_order_does_not_depend_on_how_many_are_encoded_together(corpus, tokenizer, monkeypatch, at_once):
    monkeypatch.setattr(sst2, "AT_ONCE", at_once)
    found = list(encode(corpus(HEADER, *[f"{pieces(n)}\t0" for n in (3, 9, 4, 7, 5)]), tokenizer))
    assert [(sentence.line, len(ids)) for sentence, ids in found] == [(2, 3), (3, 9), (4, 4), (5, 7), (6, 5)]


def test_a_sentence_of_more_pieces_than_bert_takes(corpus, tokenizer, capfd):
    [(_, ids)] = encode(corpus(HEADER, f"{pieces(LONGEST)}\t1"), tokenizer)
    assert len(ids) == LONGEST == 512
    reason = refused(corpus(HEADER, GOOD, f"{pieces(LONGEST + 1)}\t1"), 3, tokenizer)
    assert reason == "the sentence has 513 word pieces, BERT takes 512; it is never cut"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["\0", "\ufeff", "\u200b", "\x01 \x02"], ids=ascii)
def test_a_sentence_of_which_nothing_is_left(corpus, tokenizer, text):
    assert "the sentence is empty but for" in refused(corpus(HEADER, GOOD, f"{text}\t1"), 3, tokenizer)


def test_case_is_kept(tokenizer):
    assert tokenizer.encode("A a").ids[1:3] == [tokenizer.token_to_id("[UNK]"), tokenizer.token_to_id("a")]


NO_TOKENIZER = {"no vocabulary": ({}, "holds neither vocab.txt nor tokenizer.json"),
                "an empty vocabulary": ({"vocab.txt": b""}, "holds no tokenizer: "),
                "a vocabulary without [UNK]": ({"vocab.txt": b"a\nb\n"}, "holds no tokenizer: "),
                "another encoding": ({"vocab.txt": b"[UNK]\n\xff\xfe"}, "holds no tokenizer: "),
                "a broken tokenizer": ({"tokenizer.json": b"{"}, "holds no tokenizer: ")}


@pytest.mark.parametrize("content, reason", NO_TOKENIZER.values(), ids=NO_TOKENIZER)
def test_a_folder_without_a_tokenizer(tmp_path, content, reason):
    for name, data in {"tokenizer_config.json": (TINY / "tokenizer_config.json").read_bytes(), **content}.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=reason) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


# --- Labels and accuracy


@pytest.mark.parametrize("content, reason", [
    (None, "is not there"), ("", "is not whole JSON"), ("[", "is not whole JSON"), ("{}", "is not a list of labels"),
    ("[]", "is not a list of labels"), ("[0, 2]", "is not a list of labels"), ('["0"]', "is not a list of labels"),
    ("[[0]]", "is not a list of labels"), ("[null]", "is not a list of labels"), ("1", "is not a list of labels")])
def test_damaged_labels_are_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match=rf"labels\.json {reason}"):
        read_labels(tmp_path / "labels.json")


def test_labels_are_read(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps([1, 0, 1]))
    assert read_labels(tmp_path / "labels.json").tolist() == [1, 0, 1]


@st.composite
def answers(draw):
    """(logits float32 [N, 2], labels int [N])."""
    labels = draw(st.lists(st.integers(0, 1), min_size=1, max_size=20))
    return draw(arrays.arrays(np.float32, (len(labels), 2), elements=st.integers(-3, 3))), np.array(labels)


@given(answers())
def test_accuracy_is_scikit_learns_where_there_is_no_tie(case):
    logits, labels = case
    assume((logits[:, 0] != logits[:, 1]).all())
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, logits.argmax(1)))


@given(answers())
def test_a_tie_is_wrong_whatever_the_label(case):
    logits, labels = case
    predicted = np.where(logits[:, 0] == logits[:, 1], 1 - labels, logits.argmax(1))
    assert accuracy(logits, labels) == pytest.approx(accuracy_score(labels, predicted))


def test_accuracy_by_hand():
    logits = np.array([[0.1, 0.2], [3, -1], [1, 2], [5, 5], [0, 0], [-2, -1]])
    assert accuracy(logits, np.array([1, 0, 0, 1, 0, 1])) == 3 / 6
    assert accuracy(np.full((2, 2), np.nan), np.array([0, 1])) == 0, "what is not a number is no answer"


# --- The released corpus


@pytest.mark.parametrize("name, sentences, positive, mean", [
    ("train.tsv", 67349, 37569, 13.95), ("dev.tsv", 872, 444, 26.45)])
def test_the_released_corpus(name, sentences, positive, mean):
    path, tokenizer = need(f"sst2/{name}"), load_tokenizer(need("tokenizers/bert-base-cased/vocab.txt").parent)
    lengths, labels = [], []
    for sentence, ids in encode(path, tokenizer):
        lengths.append(len(ids))
        labels.append(sentence.label)
    assert (len(lengths), sum(labels)) == (sentences, positive) and max(lengths) < 128
    assert np.mean(lengths) == pytest.approx(mean, abs=0.005)


def test_the_released_test_part_has_no_labels():
    with pytest.raises(BadSample, match=r"test\.tsv:1: expected the header .*found 'index\\tsentence'"):
        list(read(need("sst2/test.tsv")))
