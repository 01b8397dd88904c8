"""Training: resumed after a kill as if nothing had happened; its data never loses a tag or a sentence."""
import collections
import hashlib
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scripts
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import cluener
from cluener import CATEGORIES, Sentence, Vocabulary, entities
from npukit.errors import UserError

train = scripts.load(HERE / "train.py")

TINY = HERE.parents[1] / "data" / "tiny" / "bilstm_crf" / "dev.json"
OVERLAPPING = '{"text": "丙丙丙", "label": {"name": {"丙丙": [[0, 1]], "丙": [[1, 1]]}}}\n'
EPOCHS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a train.json of a few sentences, one of them bad, and a dev.json."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = TINY.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.json").write_text("".join([*lines[:3], OVERLAPPING, *lines[3:12]]), encoding="utf-8")
    (folder / "dev.json").write_text("".join(lines[12:]), encoding="utf-8")
    return folder


def command(corpus, output, *flags):
    return [sys.executable, HERE / "train.py", "--do_train", "--gpu", "", "--data_dir", corpus, "--output", output,
            "--epochs", str(EPOCHS), *flags]


ENVIRONMENT = scripts.environment(OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    """(folder of a training that nobody disturbed, what it printed)."""
    output = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(corpus, output), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return output, done.stdout


@pytest.fixture(scope="module")
def killed(corpus, tmp_path_factory):
    """The folder of a training that was killed after its first epoch."""
    output = tmp_path_factory.mktemp("killed")
    process = subprocess.Popen(command(corpus, output), stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    while not (output / "last.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (output / "weights.safetensors").exists()
    return output


def resumed(corpus, killed, output, *flags):
    shutil.copytree(killed, output)
    return subprocess.run(command(corpus, output, *flags), capture_output=True, text=True, env=ENVIRONMENT)


@pytest.mark.long
def test_a_killed_training_goes_on_to_the_same_weights(corpus, undisturbed, killed, tmp_path):
    expected, printed = undisturbed
    done = resumed(corpus, killed, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    first, *epochs = done.stdout.splitlines()
    assert first.startswith("going on after epoch ") and epochs and set(epochs) < set(printed.splitlines())
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (expected / "weights.safetensors").read_bytes()
    assert not (tmp_path / "again" / "last.pt").exists(), "a finished training leaves nothing to go on with"
    ours, theirs = (json.loads((folder / "card.json").read_text()) for folder in (tmp_path / "again", expected))
    assert {**ours, "wall_seconds": 0} == {**theirs, "wall_seconds": 0}


@pytest.mark.long
@pytest.mark.parametrize("flags", [("--seed", "5"), ("--batch_size", "7"), ("--epochs", "9")], ids=str)
def test_another_recipe_does_not_go_on(corpus, killed, tmp_path, monkeypatch, flags):
    shutil.copytree(killed, tmp_path / "again")
    monkeypatch.setattr(sys, "argv", [str(word) for word in command(corpus, tmp_path / "again", *flags)[1:]])
    with pytest.raises(UserError, match=r"last\.pt belongs to another training, .*remove it to begin anew"):
        train.main()


@pytest.mark.long
def test_another_corpus_does_not_go_on(corpus, killed, tmp_path, monkeypatch):
    shutil.copytree(killed, tmp_path / "again")
    shutil.copytree(corpus, tmp_path / "corpus")
    with open(tmp_path / "corpus" / "train.json", "a") as file:
        file.write('{"text": "a", "label": {}}\n')
    monkeypatch.setattr(sys, "argv", [str(word) for word in command(tmp_path / "corpus", tmp_path / "again")[1:]])
    with pytest.raises(UserError, match="belongs to another training"):
        train.main()


@pytest.mark.long
def test_the_card(corpus, undisturbed):
    folder, printed = undisturbed
    card = json.loads((folder / "card.json").read_text())
    for path in (corpus / "train.json", corpus / "dev.json", folder / "weights.safetensors"):
        assert card[path.stem] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (card["epochs"], card["seed"], card["batch_size"]) == (EPOCHS, 1234, 32)
    assert card["curve"] == [json.loads(line) for line in printed.splitlines()]
    assert [point["epoch"] for point in card["curve"]] == list(range(1, EPOCHS + 1))
    assert all(point.keys() == {"epoch", "loss", "dev_f1"} for point in card["curve"])
    assert card["curve"][-1]["loss"] < card["curve"][0]["loss"]
    assert len(card["skipped"]) == 1 and card["skipped"][0].startswith("train.json:4: ")
    assert "curve" in card["dev_used_for"] and card["wall_seconds"] >= 0 and card["torch"] == torch.__version__


@pytest.mark.long
def test_what_is_shipped_fits_together(undisturbed):
    folder, _ = undisturbed
    weights, vocabulary = load_file(folder / "weights.safetensors"), Vocabulary.load(folder / "vocab.txt")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert weights["embedding.weight"].shape == (len(vocabulary), 128) and weights["classifier.weight"].shape == (33,
                                                                                                                  768)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "vocab.txt", "weights.safetensors"]


@pytest.mark.parametrize("flags", [(), ("--gpu", "0", "--do_train"), ("--gpu", "")], ids=str)
def test_the_originals_flags_are_asked_for(tmp_path, monkeypatch, flags):
    monkeypatch.setattr(sys, "argv", ["train.py", "--data_dir", str(tmp_path), "--output", str(tmp_path), *flags])
    with pytest.raises(UserError, match="call it as the original does, --do_train --gpu ''"):
        train.main()


@st.composite
def sentences(draw):
    text = draw(st.text("甲乙丙丁", min_size=1, max_size=train.MAX_LENGTH))
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    label = collections.defaultdict(lambda: collections.defaultdict(list))
    for first, after in itertools.pairwise(edges):
        if draw(st.booleans()):
            label[draw(st.sampled_from(CATEGORIES[:3]))][text[first:after]].append((first, after - 1))
    return Sentence(text, cluener.tags_of(text, label))


CORPUS = st.lists(sentences(), min_size=1, max_size=12)


def mentions(sentence):
    return [(category, sentence.text[first:last + 1]) for category, first, last in entities(sentence.tags)]


def between(sentence):
    """Return the text outside of mentions."""
    return "".join(character for character, tag in zip(sentence.text, sentence.tags) if tag == "O")


@settings(deadline=None)
@given(CORPUS, st.integers())
def test_swapping_mentions_keeps_tags_and_length(corpus, seed):
    known, chance = train.mentions_of(corpus), random.Random(seed)
    assert {category: sorted(found) for category, found in known.items()} == {
        category: sorted(m for s in corpus for c, m in mentions(s) if c == category) for category in known}
    for sentence in corpus:
        swapped = train.swap_mentions(sentence, known, chance)
        assert len(swapped.tags) == len(swapped.text) <= train.MAX_LENGTH
        assert between(swapped) == between(sentence)
        assert [category for category, _ in mentions(swapped)] == [category for category, _ in mentions(sentence)]
        assert all(mention in known[category] for category, mention in mentions(swapped))


def test_mentions_are_swapped_at_all():
    pair = [Sentence("甲乙在", ("B-name", "I-name", "O")), Sentence("丙丁戊来", ("B-name", "I-name", "I-name", "O"))]
    chance = random.Random(0)
    seen = {train.swap_mentions(pair[0], train.mentions_of(pair), chance).text for _ in range(100)}
    assert seen == {"甲乙在", "丙丁戊在"}


def test_no_swap_makes_a_sentence_too_long():
    short = Sentence("甲" + "在" * 47, ("S-name", *"O" * 47))
    long = Sentence("乙乙乙乙丙丙丙", ("B-name", *["I-name"] * 3, "B-name", *["I-name"] * 2))
    known = {"name": ["甲", "乙乙乙乙", "丙丙丙"]}
    seen = {len(train.swap_mentions(short, known, random.Random(seed)).text) for seed in range(200)}
    assert seen == {48, 50}, "three characters for one just fit, four do not"
    assert {len(train.swap_mentions(long, known, random.Random(seed)).text) for seed in range(200)} >= {2, 7, 8}


@settings(deadline=None)
@given(CORPUS, st.integers(1, 5), st.integers())
def test_batches_hold_one_length_each_and_every_sentence_once(corpus, size, seed):
    batches = train.batches_of(corpus, size, random.Random(seed))
    assert all(len({len(s.text) for s in batch}) == 1 and 1 <= len(batch) <= size for batch in batches)
    assert sorted((s.text, s.tags) for batch in batches for s in batch) == sorted((s.text, s.tags) for s in corpus)
    assert batches == train.batches_of(corpus, size, random.Random(seed))


def test_the_vocabulary_holds_what_occurs_twice():
    made = train.vocabulary_of([Sentence("甲甲乙丙", ("O",) * 4), Sentence("乙乙丁", ("O",) * 3)])
    assert made.tokens == [*cluener.SPECIAL, "乙", "甲"]
