"""Word pieces and windows against plain readings of run_squad.py's rules; the pairing of inputs; what is refused."""
import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from corpora import need
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import squad
import window_files
import windows
from npukit.errors import BadSample, UserError
from windows import Corpus, Recipe, Vocabulary

TINY = HERE.parents[1] / "data" / "tiny" / "spanbert"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RELAXED = settings(deadline=None, max_examples=200)


# --- Word pieces: BertTokenizer once more, letter by letter


def plain_parts(text, lower):
    """Split text as BERT's basic tokenizer does: control letters dropped, Chinese and punctuation apart, then at spaces."""
    spaced = ""
    for letter in text:
        category, code = unicodedata.category(letter), ord(letter)
        if letter in "\t\n\r" or category == "Zs":
            spaced += " "
        elif code in (0, 0xFFFD) or category.startswith("C"):
            continue
        elif 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2CEAF:
            spaced += f" {letter} "
        else:
            spaced += letter
    parts = []
    for word in spaced.split():
        if word in SPECIAL:
            parts.append(word)
            continue
        if lower:
            word = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        part = ""
        for letter in word:
            if unicodedata.category(letter).startswith("P") or (letter.isascii() and not letter.isalnum()):
                parts += [part, letter]
                part = ""
            else:
                part += letter
        parts.append(part)
    return [part for part in parts if part]


def plain_pieces(part, vocabulary):
    """Cut a part into the longest pieces there are, from its front."""
    pieces, begin = [], 0
    while begin < len(part) <= 100:
        mark = "##" if begin else ""
        ends = [end for end in range(len(part), begin, -1) if mark + part[begin:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + part[begin:ends[0]])
        begin = ends[0]
    return pieces if len(part) <= 100 else ["[UNK]"]


def plain_tokens(text, vocabulary, lower=False):
    return [piece for part in plain_parts(text, lower) for piece in plain_pieces(part, vocabulary)]


@pytest.fixture(scope="module", params=[False, True], ids=["cased", "uncased"])
def tiny_vocabulary(request):
    return Vocabulary(TINY, lower=request.param), request.param


LETTERS = [*"abcehlnorstzABDEZ0149.,'-()$&[]é中ñ–\u00ad\u200b\u0301", "lighthouse", "ing", "x" * 101]
WORDS = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12).map("".join) | st.sampled_from(SPECIAL)


@RELAXED
@given(word=WORDS)
def test_a_words_pieces_are_the_plain_ones(tiny_vocabulary, word):
    vocabulary, lower = tiny_vocabulary
    vocabulary.learn([word])
    assert [vocabulary.piece[n] for n in vocabulary.pieces(word)] == plain_tokens(word, vocabulary.number, lower)
    assert vocabulary.parts(word).split() == plain_parts(word, lower)


def test_the_released_corpus_has_the_plain_pieces():
    vocabulary = Vocabulary(need("tokenizers/bert-base-cased/vocab.txt").parent, lower=False)
    paragraphs = squad.read(need("squad/dev-v1.1.json"))
    texts = [paragraph.context for paragraph in paragraphs] + [q.text for paragraph in paragraphs for q in paragraph.questions]
    words = sorted({word for text in texts for word in squad.words(text)})
    vocabulary.learn(words)
    for word in words[::5]:
        assert [vocabulary.piece[n] for n in vocabulary.pieces(word)] == plain_tokens(word, vocabulary.number)
        assert vocabulary.parts(word) == " ".join(plain_parts(word, False))


@pytest.mark.parametrize("files, reason", [
    ({}, "holds neither vocab.txt nor tokenizer.json; --model is"), ({"tokenizer.json": "{"}, "holds no tokenizer: "),
    ({"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n"}, r"holds no tokenizer: \[SEP\] \[MASK\] missing"),
    ({"vocab.txt": "[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\n"}, r"\[PAD\] as the first piece is missing")])
def test_a_folder_without_a_vocabulary(tmp_path, files, reason):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=reason):
        Vocabulary(tmp_path, lower=False)


def test_a_tokenizer_json_is_a_vocabulary_too(tmp_path):
    Vocabulary(TINY, lower=False).tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Vocabulary(tmp_path, lower=False).number == Vocabulary(TINY, lower=False).number


@pytest.mark.parametrize("said, flag, lower", [
    (None, False, False), (None, True, True), (True, False, True), (True, True, True), (False, False, False)])
def test_case_is_as_the_folder_says_and_where_it_says_nothing_as_the_flag(tmp_path, said, flag, lower):
    (tmp_path / "vocab.txt").write_bytes((TINY / "vocab.txt").read_bytes())
    if said is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": said}))
    vocabulary = Vocabulary(tmp_path, flag)
    vocabulary.learn(["LightHouse"])
    found = [vocabulary.piece[n] for n in vocabulary.pieces("LightHouse")]
    assert found == plain_tokens("LightHouse", vocabulary.number, lower)
    assert (vocabulary.parts("LightHouse") == "lighthouse") is lower


def test_a_flag_against_the_folder_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_bytes((TINY / "vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    with pytest.raises(UserError, match=r"--do_lower_case is given, and .*tokenizer_config\.json says do_lower_case fal"):
        Vocabulary(tmp_path, lower=True)


@pytest.mark.parametrize("word", ["a[SEP]b", "[MASK]s", "[sep]"])
def test_special_tokens_within_a_word_are_text(tiny_vocabulary, word):
    vocabulary, lower = tiny_vocabulary
    vocabulary.learn([word])
    assert [vocabulary.piece[n] for n in vocabulary.pieces(word)] == plain_tokens(word, vocabulary.number, lower)


# --- Windows: run_squad.py's loops once more


def plain_windows(context, question, vocabulary, longest, stride):
    """Return a question's windows as (pieces, segments, {place: word}, {place: whether it has its max context here})."""
    query = plain_tokens(question, vocabulary)
    text = [(piece, number) for number, word in enumerate(squad.words(context)) for piece in plain_tokens(word, vocabulary)]
    room, cuts, start = longest - len(query) - 3, [], 0
    while True:
        cuts.append((start, min(room, len(text) - start)))
        if sum(cuts[-1]) == len(text):
            break
        start += min(cuts[-1][1], stride)
    made = []
    for number, (start, length) in enumerate(cuts):
        head = ["[CLS]", *query, "[SEP]"]
        pieces, words, best = [*head], {}, {}
        for place in range(start, start + length):
            scores = [min(place - s, s + n - 1 - place) + 0.01 * n if s <= place < s + n else -1 for s, n in cuts]
            words[len(pieces)], best[len(pieces)] = text[place][1], scores.index(max(scores)) == number
            pieces.append(text[place][0])
        made.append(([*pieces, "[SEP]"], [0] * len(head) + [1] * (length + 1), words, best))
    return made


def compare_windows(corpus):
    """Compare every window of a corpus with the plain ones."""
    rows, vocabulary, at = corpus.rows(), corpus.vocabulary, 0
    for number, (question, paragraph) in enumerate(corpus.questions):
        plain = plain_windows(corpus.paragraphs[paragraph].context, question.text, vocabulary.number, corpus.recipe.max_seq_length,
                              corpus.recipe.doc_stride)
        for pieces, segments, words, best in plain:
            window = corpus.windows[at]
            assert window.question == number and corpus.id_of(at) == question.id
            assert [vocabulary.piece[n] for n in window.ids] == pieces
            assert [rows[name][at] for name in windows.INPUTS] == [window.ids, segments, [1] * len(pieces)]
            places = range(window.first, window.first + len(window.best))
            assert dict(zip(places, window.best.tolist())) == best
            assert dict(zip(places, corpus.word_of[paragraph][window.start:])) == words
            at += 1
    assert at == len(corpus.windows)


@pytest.mark.parametrize("longest, stride", [(512, 128), (512, 1000), (100, 16), (90, 7)])
def test_windows_are_the_plain_ones(longest, stride):
    corpus = Corpus(Recipe(TINY / "dev-v1.1.json", TINY, longest, stride))
    compare_windows(corpus)
    assert len(corpus.windows) == 30 if (longest, stride) == (512, 128) else len(corpus.windows) >= 30


def test_the_released_corpus_has_the_plain_windows():
    whole = Corpus(Recipe(need("squad/dev-v1.1.json"), need("tokenizers/bert-base-cased/vocab.txt").parent))
    assert (len(whole.questions), len(whole.windows), whole.lengths.max(), round(whole.lengths.mean(), 1)) == (10570, 10664, 512, 183.4)
    compare_windows(Corpus(Recipe(whole.recipe.dev_file, whole.recipe.model, questions=150)))
    several = Corpus(Recipe(whole.recipe.dev_file, whole.recipe.model, 128, 50, questions=50))
    compare_windows(several)
    assert len(several.windows) > 80


@RELAXED
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 25))
def test_every_piece_has_its_max_context_once(count, room, stride):
    cuts = windows.spans(count, room, stride)
    best = windows.max_context(cuts)
    seen = np.zeros(count, dtype=int)
    for (start, stop), mine in zip(cuts, best):
        assert len(mine) == stop - start <= room
        seen[start:stop] += mine
    assert (seen == 1).all() and cuts[-1][1] == count


# --- What is refused


@pytest.fixture
def corpus_of(tmp_path):
    """A function: the corpus of one context and question."""
    def make(context="a b", question="c", **flags):
        (tmp_path / "dev.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": [
            {"id": "q7", "question": question, "answers": [{"text": context, "answer_start": 0}]}]}]}]}))
        return Corpus(Recipe(tmp_path / "dev.json", TINY, **flags))
    return make


def test_an_over_long_question_is_refused_not_cut(corpus_of):
    assert len(corpus_of(question="a " * 64).windows) == 1
    with pytest.raises(BadSample, match=r"dev\.json:q7: the question has 65 word pieces, --max_query_length is 64; it is never cut"):
        corpus_of(question="a " * 65)
    with pytest.raises(BadSample, match="--max_query_length is 3"):
        corpus_of(question="a b c d", max_query_length=3)


@pytest.mark.parametrize("texts", [{"context": "\u200b"}, {"question": "\u200b \u200b"}])
def test_nothing_but_dropped_letters_is_refused(corpus_of, texts):
    with pytest.raises(BadSample, match="q7: the context or the question holds nothing but"):
        corpus_of(**texts)


@pytest.mark.parametrize("flags", [{"max_seq_length": 513}, {"max_query_length": 0}, {"max_seq_length": 67}, {"doc_stride": 0}])
def test_lengths_that_make_no_window(flags):
    with pytest.raises(UserError, match=r"--max_seq_length|--doc_stride"):
        windows.recipe_of(Recipe(TINY / "dev-v1.1.json", TINY, **flags))


# --- Inputs and their folders


@pytest.fixture
def inputs(tmp_path):
    """What preprocess.py leaves for the tiny corpus."""
    corpus = Corpus(Recipe(TINY / "dev-v1.1.json", TINY))
    window_files.write(tmp_path, corpus, [512], corpus.description())
    return tmp_path


def test_windows_come_back_as_they_were_cut(inputs):
    corpus = Corpus(Recipe(TINY / "dev-v1.1.json", TINY))
    found, manifest, samples = window_files.read(inputs)
    assert list(samples.flat) == ["input_ids", "token_type_ids", "attention_mask"] and manifest["corpus"] == corpus.description()
    for name, rows in corpus.rows().items():
        assert samples.flat[name].tolist() == [number for row in rows for number in row]
    assert (found.max_seq_length, found.paragraphs, found.words) == (512, corpus.paragraphs, corpus.words)
    assert [word_of.tolist() for word_of in found.word_of] == corpus.word_of and np.array_equal(found.lengths, corpus.lengths)
    for ours, theirs in zip(found.windows, corpus.windows, strict=True):
        assert (ours.question, ours.ids, ours.first, ours.start) == (theirs.question, theirs.ids, theirs.first, theirs.start)
        assert np.array_equal(ours.best, theirs.best)
        assert [found.piece[number] for number in ours.ids] == [corpus.piece[number] for number in ours.ids]
    for word in {word for words in corpus.words for word in words}:
        assert found.parts(word) == corpus.parts(word)


def test_nothing_that_is_left_names_a_place(inputs):
    for path in inputs.iterdir():
        assert str(TINY).encode() not in path.read_bytes(), path


@pytest.mark.parametrize("one, other", [("segment_ids", "input_mask"), ("input_ids", "input_mask"), ("input_ids", "segment_ids")])
def test_swapped_files_are_seen(inputs, one, other):
    (inputs / f"{one}.npy").rename(inputs / "spare.npy")
    (inputs / f"{other}.npy").rename(inputs / f"{one}.npy")
    (inputs / "spare.npy").rename(inputs / f"{other}.npy")
    with pytest.raises(UserError, match=r"are not the graph's inputs, .*token_type_ids \(in segment_ids\).*Were two swapped\?"):
        window_files.read(inputs)


def test_another_order_in_the_manifest_is_seen(inputs):
    manifest = json.loads((inputs / "manifest.json").read_text())
    manifest["inputs"] = dict(sorted(manifest["inputs"].items()))
    (inputs / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="Were two swapped"):
        window_files.read(inputs)


def test_windows_of_other_inputs_are_seen(inputs, tmp_path):
    corpus = Corpus(Recipe(TINY / "dev-v1.1.json", TINY, doc_stride=64, max_seq_length=100))
    window_files.write(tmp_path / "others", corpus, [100], corpus.description())
    (tmp_path / "others" / "windows.npz").rename(inputs / "windows.npz")
    with pytest.raises(UserError, match=r"windows\.npz and inputs that do not belong together; run preprocess\.py again"):
        window_files.read(inputs)


def test_what_the_manifest_says_of_the_corpus():
    whole, some = (Corpus(Recipe(TINY / "dev-v1.1.json", TINY, questions=count)).description() for count in (None, 9))
    assert (whole["name"], whole["samples"], whole["windows"]) == ("dev-v1.1.json", 24, 30)
    assert 0 < whole["unknown_share"] < 0.01
    assert (some["name"], some["samples"]) == ("dev-v1.1.json, 9 of 24 questions, evenly spread", 9)
