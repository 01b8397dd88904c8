"""Training: resumed after a kill as if nothing had happened; what it ships is a Hugging Face directory."""
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
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from npukit.corpus import wordpiece
from npukit.errors import UserError
from npukit.files import sha256
from npukit.nets import bert

train = scripts.load(HERE / "train.py")

TINY = HERE.parents[1] / "data" / "tiny" / "bert_base_sst2"
EPOCHS = 3
ENVIRONMENT = scripts.environment(OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a train.tsv and a dev.tsv of a few sentences."""
    folder = tmp_path_factory.mktemp("corpus")
    header, *lines = (TINY / "dev.tsv").read_text().splitlines(keepends=True)
    (folder / "train.tsv").write_text("".join([header, *lines[:16]]))
    (folder / "dev.tsv").write_text("".join([header, *lines[16:]]))
    return folder


def command(corpus, output, *flags, tokenizer=TINY):
    return [sys.executable, HERE / "train.py", "--data_dir", corpus, "--tokenizer_path", tokenizer, "--output", output,
            "--epochs", str(EPOCHS), "--batch_size", "4", *flags]


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
    assert not (output / "model.safetensors").exists()
    return output


@pytest.mark.long
def test_a_killed_training_goes_on_to_the_same_weights(corpus, undisturbed, killed, tmp_path):
    expected, printed = undisturbed
    again = shutil.copytree(killed, tmp_path / "again")
    done = subprocess.run(command(corpus, again), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    first, *epochs = done.stdout.splitlines()
    assert first.startswith("going on after epoch ") and epochs and set(epochs) < set(printed.splitlines())
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (expected / name).read_bytes()
    assert not (again / "last.pt").exists(), "a finished training leaves nothing to go on with"
    ours, theirs = (json.loads((folder / "card.json").read_text()) for folder in (again, expected))
    assert {**ours, "wall_seconds": 0} == {**theirs, "wall_seconds": 0}


def longer(corpus, vocabulary):
    with open(corpus / "train.tsv", "a") as file:
        file.write("a film \t1\n")


def other_words(corpus, vocabulary):
    (vocabulary / "vocab.txt").write_text((TINY / "vocab.txt").read_text().replace("film\n", "movie\n"))


@pytest.mark.long
@pytest.mark.parametrize("flags, change", [
    (("--seed", "5"), None), (("--batch_size", "7"), None), (("--epochs", "9"), None), ((), longer), ((), other_words)],
    ids=["seed", "batch size", "epochs", "corpus", "vocabulary"])
def test_another_recipe_does_not_go_on(corpus, killed, tmp_path, monkeypatch, flags, change):
    output = shutil.copytree(killed, tmp_path / "again")
    corpus, tokenizer = shutil.copytree(corpus, tmp_path / "corpus"), shutil.copytree(TINY, tmp_path / "tokenizer")
    if change:
        change(corpus, tokenizer)
    monkeypatch.setattr(sys, "argv", [str(word) for word in command(corpus, output, *flags, tokenizer=tokenizer)[1:]])
    with pytest.raises(UserError, match=r"last\.pt belongs to another training, .*remove it to begin anew"):
        train.main()


@pytest.mark.long
def test_the_card(corpus, undisturbed):
    folder, printed = undisturbed
    card = json.loads((folder / "card.json").read_text())
    digests = {"train": corpus / "train.tsv", "dev": corpus / "dev.tsv", "vocabulary": TINY / "vocab.txt",
               "weights": folder / "model.safetensors"}
    assert {name: card[name] for name in digests} == {name: sha256(path) for name, path in digests.items()}
    assert (card["epochs"], card["seed"], card["batch_size"]) == (EPOCHS, 1234, 4)
    assert card["curve"] == [json.loads(line) for line in printed.splitlines()]
    assert [point["epoch"] for point in card["curve"]] == list(range(1, EPOCHS + 1))
    assert all(point.keys() == {"epoch", "loss", "dev_accuracy"} for point in card["curve"])
    assert "curve" in card["dev_used_for"] and card["wall_seconds"] >= 0 and card["torch"] == torch.__version__


@pytest.mark.long
def test_what_is_shipped_fits_together(undisturbed):
    folder, _ = undisturbed
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    weights = load_file(folder / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    net = bert.load("SequenceClassification", folder, labels=2)
    assert all(torch.equal(value, weights[name].float()) for name, value in net.state_dict().items())
    bert.check_vocabulary(folder, wordpiece.load(TINY).get_vocab_size())


SAMPLES = st.lists(st.tuples(st.lists(st.integers(1, 99), min_size=3, max_size=20), st.integers(0, 1)), min_size=1,
                   max_size=30)


@given(SAMPLES, st.integers(1, 7), st.integers())
def test_batches_hold_every_sample_once(samples, size, seed):
    batches = train.batches_of(samples, size, random.Random(seed))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert sorted(sample for batch in batches for sample in batch) == sorted(samples)
    assert batches == train.batches_of(samples, size, random.Random(seed))


@given(SAMPLES)
def test_a_batch_is_filled_up_behind_its_samples(samples):
    ids, mask, labels = train.padded(samples)
    for row, seen, label, (tokens, truth) in zip(ids, mask, labels, samples):
        assert row[seen == 1].tolist() == tokens and label == truth
        assert seen.tolist() == sorted(seen.tolist(), reverse=True) and not row[seen == 0].any()
