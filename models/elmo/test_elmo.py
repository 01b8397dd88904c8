"""The scripts as commands: the original README's steps by hand, gears, recipes, and faults that were planted."""
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scripts
import torch
from corpora import need
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import characters
import lm1b
import vectors
from npukit import files
from npukit.corpus import batches
from npukit.errors import BadSample, JobFailed, UserError

SCRIPTS = scripts.Scripts(HERE, "preprocess", "pth2onnx", "postprocess", "onnx_infer", "peer")
call, ran = SCRIPTS.call, SCRIPTS.ran
TINY = ROOT / "data" / "tiny" / "elmo"
torch.set_num_threads(1)  # nothing here is large

PREPROCESS = "preprocess --file_path $tiny --save_path data.txt --bin_path input --file_num 2 "
EXPORT = "pth2onnx --output_file elmo.onnx --option_file $tiny/options.json --random_weights --inputs input"
COMPARE = "postprocess --onnx_model elmo.onnx --onnx_input input --om_out outputs"


def finished(folder, word_len, size):
    """Fill the folder with inputs, graphs, oms and outputs for these lengths and batch size."""
    call(folder, PREPROCESS + f"--word_len {word_len}")
    call(folder, EXPORT)
    ran(folder, f"bash $here/atc.sh elmo.onnx model {size} cpu seq_lens.txt; bash $here/infer.sh $PWD/model.om $PWD outputs {size} 0")
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("fixed"), "8", 4)


@pytest.fixture(scope="module")
def geared(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("geared"), "8,12", 4)


@pytest.fixture
def copy(fixed, tmp_path):
    """A copy of `fixed` that a test may damage."""
    return shutil.copytree(fixed, tmp_path / "copy", symlinks=True)


def answers(folder):
    """Return {sentence: its vectors} as the offline model gave them."""
    sentences = vectors.read(folder / "input")
    ours = batches.read_flat_outputs(folder / "outputs", sentences.lengths)
    cut = np.cumsum(sentences.lengths)[:-1]
    return dict(zip((folder / "data.txt").read_text().splitlines(), np.split(ours, cut), strict=True))


def test_gears_answer_as_one_length_does(fixed, geared):
    short, all_of_them = answers(fixed), answers(geared)
    assert len(short) > 10 and set(short) < set(all_of_them)
    for sentence, found in short.items():
        assert np.abs(found - all_of_them[sentence]).max() < 1e-5
    assert (geared / "model.om").resolve().name == "model_12.om" and (geared / "elmo.onnx").resolve().name == "elmo_12.onnx"


@pytest.mark.parametrize("kind", ["fixed", "geared"])
def test_the_comparison_prints_both_cosines(kind, request, capsys):
    call(request.getfixturevalue(kind), COMPARE)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == ["cosine similarity to ONNX", "cosine similarity to PyTorch"]
    assert all("mean 1.000000, minimum 1.000000" in line for line in printed)


def by_hand(folder, place):
    """Write the inputs as the original has them, a file a sentence; return the files."""
    ran(place, f"python3 -m npukit files --inputs {folder} --output .")
    return sorted((place / "input").iterdir())


def test_inputs_are_the_originals(fixed, tmp_path):
    """int32 [word_len, 50] a sentence, those of at most 8 words, in the order of the shards."""
    files_ = by_hand(fixed, tmp_path)
    lines = [line.split() for n in (0, 1) for line in (TINY / lm1b.SHARD.format(n)).read_text(encoding="utf-8").splitlines()]
    kept = [words for words in lines if len(words) <= 8]
    assert (fixed / "data.txt").read_text() == "".join(f"{' '.join(words)}\n" for words in kept)
    assert [path.name for path in files_] == [f"data_{number:08d}.npy" for number in range(len(kept))]
    for words, array in zip(kept, map(np.load, files_)):
        assert array.dtype == np.int32 and np.array_equal(array, characters.batch_to_ids([words], 8)[0])
    corpus = files.read_json(fixed / "manifest.json")["corpus"]
    assert (corpus["samples"], corpus["longer"], corpus["skipped"]) == (len(kept), len(lines) - len(kept), [])


def test_the_ledger_and_the_weights(fixed):
    torch_, onnx = files.read_json(fixed / "ledger.json")
    assert torch_["fidelity"] is None and onnx["fidelity"]["max_abs"] < 1e-5 and onnx["fidelity"]["flips"] is None
    weights = files.read_json(fixed / "weights.json")
    assert weights["sha256"] == files.sha256(fixed / "weights.hdf5") and weights["parameters"] == 50104, "by hand, from options.json"


VERBATIM = """
python3 ais_infer.py --model $out/elmo_sim.om --input $out/bin_path --output $out/om_out
python3 ais_infer.py --model $out/elmo_sim.om --loop=20
"""


def test_the_originals_ais_infer_runs_in_the_models_folder(fixed, tmp_path):
    by_hand(fixed, tmp_path)
    (tmp_path / "input").rename(tmp_path / "bin_path")
    ran(tmp_path, f"bash $here/atc.sh {fixed}/elmo.onnx elmo_sim 1 cpu {fixed}/seq_lens.txt; mkdir om_out")
    said = ran(HERE, f"out={tmp_path};{VERBATIM}")
    assert "throughput" in said and len(list(tmp_path.glob("om_out/*/data_*"))) == len(list((tmp_path / "bin_path").iterdir()))


@pytest.mark.parametrize("path", ["", "$here", "$here:$PWD/link"])
def test_the_originals_ais_infer_wants_one_on_path(tmp_path, path):
    (tmp_path / "link").symlink_to(HERE)
    done = SCRIPTS.run(tmp_path, f"python=$(command -v python3); PATH={path} $python $here/ais_infer.py --model a.om")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "there is no ais_infer.py on PATH" in done.stderr


def test_missing_shards_are_named(tmp_path, capsys):
    call(tmp_path, PREPROCESS.replace("--file_num 2", "--file_num 4") + "--word_len auto")
    assert "has 2 of the first 4 shards; not there: 00002 00003" in capsys.readouterr().err
    assert files.read_json(tmp_path / "manifest.json")["corpus"]["skipped"] == [lm1b.SHARD.format(2), lm1b.SHARD.format(3)]


def test_every_sentence_runs_in_some_gear(tmp_path):
    call(tmp_path, PREPROCESS + "--word_len auto --gears 3")
    sentences = vectors.read(tmp_path / "input")
    assert len(sentences.lengths) == 32 and sentences.seq_lens[-1] == sentences.lengths.max() and len(sentences.seq_lens) == 3
    seen = [row for _, rows, _ in sentences.batches(5) for row in rows]
    assert sorted(seen) == list(range(32))


def test_what_lengths_cost_chooses_the_gears(tmp_path):
    (tmp_path / "flat.json").write_text('{"1": 1.0, "100": 1.0}')
    call(tmp_path, PREPROCESS + "--word_len auto --gears 3 --gear_cost flat.json")
    assert len((tmp_path / "seq_lens.txt").read_text().split()) == 1, "where all cost the same, one is enough"


def test_a_sample_is_spread_over_the_corpus_and_said(tmp_path):
    call(tmp_path, PREPROCESS + "--word_len auto --sample 8")
    corpus = files.read_json(tmp_path / "manifest.json")["corpus"]
    assert (corpus["sentences"], corpus["sample"], corpus["samples"]) == (32, 8, 8)
    first = (TINY / lm1b.SHARD.format(0)).read_text(encoding="utf-8").splitlines()
    assert (tmp_path / "data.txt").read_text(encoding="utf-8").splitlines()[:5] == first[:17:4]


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_sample_is_of_different_sentences(count, wanted):
    chosen = lm1b.spread(count, wanted)
    assert len(set(chosen)) == min(count, wanted) and 0 <= min(chosen) and max(chosen) < count


@pytest.mark.long
def test_a_gear_that_no_sentence_needs_is_exported_as_well(tmp_path):
    call(tmp_path, PREPROCESS + "--word_len 1,2,9 --sample 4")
    call(tmp_path, EXPORT)
    assert {path.name for path in tmp_path.glob("elmo*.onnx")} == {"elmo.onnx", "elmo_1.onnx", "elmo_2.onnx", "elmo_9.onnx"}


def test_inputs_of_a_call_before_are_replaced(tmp_path):
    for word_len in ("8", "auto", "5"):
        call(tmp_path, PREPROCESS + f"--word_len {word_len}")
    sentences = vectors.read(tmp_path / "input")
    assert sentences.seq_lens == [5] and len(sentences.lengths) == files.read_json(tmp_path / "manifest.json")["samples"]


def test_the_originals_filling_is_taken_for_words(tmp_path, capsys):
    """Also: how far it is from the exact answer is measured and said. The graph here is the network's own, not allennlp's."""
    call(tmp_path, PREPROCESS + "--word_len 8 --recipe original")
    assert (np.load(by_hand(tmp_path, tmp_path)[3])[5:] == characters.PADDING).all()
    call(tmp_path, EXPORT)
    *_, recipe = files.read_json(tmp_path / "ledger.json")
    assert recipe["stage"] == "recipe" and recipe["fidelity"]["against"] == "exact ELMo"
    assert recipe["fidelity"]["cosine_min"] < 0.999 and recipe["metrics"]["cosine_min"] == recipe["fidelity"]["cosine_min"]
    assert "the original's filling: cosine with the exact answer" in capsys.readouterr().out


def test_onnx_infer_prints_the_originals_line(fixed, capsys):
    call(fixed, "onnx_infer --model elmo.onnx --loop 2")
    line = capsys.readouterr().out
    assert line.startswith("mean:") and float(line.split("throughput:")[1]) > 0


# --- Faults ----------------------------------------------------------------------------------------------------------


def swap(folder):
    path = folder / "outputs" / "batch_00000_0.npy"
    np.save(path, np.load(path)[[1, 0, 2, 3]])


def shift(folder):
    path = folder / "outputs" / "batch_00000_0.npy"
    np.save(path, np.roll(np.load(path), 1, axis=1))


@pytest.mark.parametrize("fault", [swap, shift], ids=lambda fault: fault.__name__)
def test_vectors_in_other_places_miss_the_bar(copy, fault):
    fault(copy)
    with pytest.raises(JobFailed, match=r"the smallest cosine is .*, the bar is 0\.99"):
        call(copy, COMPARE)


def rewritten(change):
    def damage(folder):
        array = np.load(folder / "input.npy")
        array[0, 1] = change
        np.save(folder / "input.npy", array)
    return damage


def other_length(folder):
    call(folder, PREPROCESS + "--word_len 7")
    ran(folder, "rm -r outputs batches; mkdir outputs; python3 -m npukit batch --inputs . --batch_size 4 --output batches --by_gear")
    for number in range(len(np.load(folder / "batches" / "order.npy"))):
        np.save(folder / "outputs" / f"batch_{number:05d}_0.npy", np.zeros((4, 7, 32), np.float32))


@pytest.mark.parametrize("damage, said", [
    (rewritten(262), "holds the id 262, expected 0 to 261"), (rewritten(-1), "holds the id -1"),
    (other_length, r"elmo.onnx takes \['N', 8, 50\], the inputs are"),
    (lambda folder: (folder / "elmo.onnx").unlink(), "elmo.onnx is not there"),
    (lambda folder: (folder / "elmo.onnx").write_bytes(b"no"), "is no graph that ONNX Runtime takes"),
    (lambda folder: (folder / "outputs" / "batch_00002_0.npy").unlink(), "1 missing"),
    (lambda folder: np.save(folder / "reference.npy", np.zeros((3, 32), np.float32)), r"PyTorch's are \[3, 32\]")])
def test_what_does_not_fit_is_answered_in_a_sentence(copy, damage, said):
    damage(copy)
    with pytest.raises(UserError, match=said):
        call(copy, COMPARE)


@pytest.mark.parametrize("content, said", [
    (b"a b\n\nc\n", r"00000-of-00050:2: the sentence has no words"), (b"a\n \n", ":2: the sentence has no words"),
    (b"a\xff\n", ":1: byte 2 is not UTF-8"), (b"", "no sentence in")])
def test_a_corpus_that_is_none_is_answered(tmp_path, content, said):
    (tmp_path / lm1b.SHARD.format(0)).write_bytes(content)
    with pytest.raises((BadSample, UserError), match=said):
        call(tmp_path, f"preprocess --file_path {tmp_path} --word_len auto")


@pytest.mark.parametrize("flags, said", [
    ("--file_num 0", "--file_num is 0; the held-out part has 1 to 50"), ("--file_num 51", "--file_num is 51"),
    ("--word_len 1", "none of 32 sentences has at most 1 words"), ("--word_len x", "--word_len is 'x'; expected auto"),
    ("--sample 0", "--sample is 0, expected 1 or more"), ("--recipe original --word_len auto", "--recipe original has one length"),
    ("--file_path /no/such", "/no/such holds none of the first 2 shards")])
def test_flags_that_cannot_be_are_answered(tmp_path, flags, said):
    with pytest.raises(UserError, match=said):
        call(tmp_path, PREPROCESS + flags)


def test_the_original_recipe_needs_allennlp(tmp_path):
    call(tmp_path, PREPROCESS + "--word_len 8 --recipe original")
    with pytest.raises(UserError, match="`make -C models/elmo oracle` builds it"):
        call(tmp_path, EXPORT + " --recipe original")


def test_words_as_the_original_counts_them():
    """Blanks alone part words in the released shards: the original counts by split() and spells by split(' ')."""
    path = need("lm1b/news.en.heldout-00000-of-00050")
    found = list(lm1b.sentences([path]))
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert len(found) == 6075 and [len(words) for words in found] == [len(line.strip().split(" ")) for line in lines]
    assert sum(len(words) <= 8 for words in found) == sum(len(line.strip().split()) <= 8 for line in lines)


# --- Beside allennlp ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_least, shift, said", [
    (1.0, 0, None), (1e6, 0, r"only .* times allennlp; 1e\+06 are due"), (1.0, 0.01, "batch size 4 answers otherwise"),
    (1.0, np.nan, "batch size 4 answers otherwise")])
def test_a_peer_that_is_faster_or_answers_otherwise_fails_the_bench(geared, tmp_path, monkeypatch, capsys, at_least, shift, said):
    """Its program is another's, in an environment of its own: here a script in its place that takes an hour and answers as it is told."""
    run = tmp_path / "cpu" / "tiny" / "elmo" / "bs4"
    shutil.copytree(geared, run.parent / "inputs")
    (run.parent / "pth2onnx").mkdir()
    command = f"bash {HERE}/infer.sh {geared}/model.om {run.parent}/inputs outputs 4 0"
    identity = {"model": "elmo", "soc": "cpu", "standin": True, "profile": "tiny", "batch_size": 4}
    files.write_json(run / "infer" / "record.json", {"command": command, "run": identity})
    np.save(tmp_path / "theirs.npy", np.load(geared / "reference.npy") + np.float32(shift))
    (tmp_path / "oracle").write_text(f"#!/bin/bash\ncp {tmp_path}/theirs.npy vectors.npy; echo '{{\"16\": 3600.0, \"32\": 7200.0}}'\n")
    (tmp_path / "oracle").chmod(0o755)
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, scripts.environment()[name])
    line = f"peer {tmp_path} --oracle {tmp_path}/oracle --at_least {at_least}"
    if said is None:
        call(tmp_path, line)
        assert "batch size 4: " in (out := capsys.readouterr().out) and " words/s, here " in out
        return
    with pytest.raises(JobFailed, match=said):
        call(tmp_path, line)
