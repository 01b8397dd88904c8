"""Whole batches for the inference tools, a file a sample by hand, and outputs back in the order of the corpus."""
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npukit import __main__ as verbs
from npukit.corpus import batches, store
from npukit.corpus.store import Input
from npukit.errors import UserError

CORPUS = {"name": "corpus"}
INPUTS = {"input_ids": Input("input_ids"), "attention_mask": Input("seen")}
WIDE = {"input": Input("input", "int32", (3,))}
FOLDERS = ("input_ids", "seen")
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)
SIZES = st.integers(1, 5)
RELAXED = settings(deadline=None, max_examples=50)


def rows_of(lengths):
    """Return two inputs: ids that say which token of which sample they are, and the mask."""
    return {"input_ids": [[100 * n + place + 1 for place in range(length)] for n, length in enumerate(lengths)],
            "attention_mask": [[1] * length for length in lengths]}


def wide(lengths):
    """Return an input of [length, 3] int32 a sample, each token's numbers its own."""
    return {"input": np.split(np.arange(3 * sum(lengths), dtype=np.int32).reshape(-1, 3), np.cumsum(lengths)[:-1])}


def written(folder, lengths, seq_lens):
    store.write(folder, INPUTS, rows_of(lengths), seq_lens, CORPUS)
    return folder


def padded(rows, width):
    return np.array([row + [0] * (width - len(row)) for row in rows])


@st.composite
def gears(draw, longest):
    return sorted({*draw(st.sets(st.integers(1, 12), max_size=3)), longest + draw(st.integers(0, 3))})


@st.composite
def cases(draw):
    """(lengths of the samples, gears that hold them, batch size); one gear often, for it is a fixed length."""
    lengths = draw(LENGTHS)
    return lengths, draw(gears(max(lengths)) | st.just([max(lengths)])), draw(SIZES)


def infer(made, folder, model):
    """Run the model, ids [N, L] -> output, on batches, as ais_bench does."""
    folder.mkdir()
    for path in sorted((made / "input_ids").iterdir()):
        np.save(folder / f"{path.stem}_0.npy", model(np.load(path)))


def sums(ids):
    """Return an answer for each sample, [N, 2]."""
    return np.stack([ids.sum(1), ids.max(1)], axis=1).astype(np.float32)


def tokens(ids):
    """Return an answer for each token, [N, L, 3]."""
    return np.stack([ids, -ids, 2 * ids], axis=2).astype(np.float32)


@pytest.mark.parametrize("model", [sums, tokens], ids=lambda model: model.__name__)
@RELAXED
@given(case=cases())
def test_outputs_come_back_in_the_order_of_the_corpus(model, case):
    lengths, seq_lens, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches.write(written(folder, lengths, seq_lens), size, folder / "batches")
        infer(folder / "batches", folder / "outputs", model)
        outputs = batches.read_outputs(folder / "outputs", len(lengths))
    expected = model(padded(rows_of(lengths)["input_ids"], max(seq_lens)))
    used = outputs.shape[1] if model is tokens else None  # no further than the longest gear that has samples
    assert len(outputs) == len(lengths) and np.array_equal(outputs, expected[:, :used])
    assert model is sums or used >= max(lengths)


@RELAXED
@given(cases())
def test_flat_to_batches_and_back_is_the_identity(case):
    """Whatever the lengths, gears and batch size: no token is lost, cut or changed, and nothing of the filling comes back."""
    lengths, seq_lens, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store.write(folder, WIDE, wide(lengths), seq_lens, CORPUS)
        batches.write(folder, size, folder / "batches", by_gear=True)
        (folder / "outputs").mkdir()
        for path in (folder / "batches").glob("*/input/*.npy"):
            batch = np.load(path)
            assert batch.dtype == np.int32 and batch.shape == (size, int(path.parent.parent.name), 3)
            np.save(folder / "outputs" / f"{path.stem}_0.npy", batch)
        found = batches.read_flat_outputs(folder / "outputs", np.array(lengths))
    assert np.array_equal(found, np.concatenate(wide(lengths)["input"]))


@RELAXED
@given(cases())
def test_a_batch_is_whole_and_of_one_gear(case):
    lengths, seq_lens, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches.write(written(folder, lengths, seq_lens), size, folder)
        order = np.load(folder / "order.npy")
        names = [f"batch_{number:05d}.npy" for number in range(len(order))]
        for kind in FOLDERS:
            assert sorted(path.name for path in (folder / kind).iterdir()) == names
        made = [{kind: np.load(folder / kind / batch) for kind in FOLDERS} for batch in names]
    assert order.shape[1] == size and sorted(order[order >= 0]) == list(range(len(lengths))), "each sample once"
    widths = [batch["input_ids"].shape[1] for batch in made]
    assert widths == sorted(widths) and set(widths) <= set(seq_lens), "the shortest samples come first"
    assert (order[:-1] >= 0).all(), "none but the last batch is filled up"
    for rows, batch, width in zip(order, made, widths):
        assert all(array.shape == (size, width) and array.dtype == np.int64 for array in batch.values())
        filling = rows < 0
        assert not filling[0] and (batch["input_ids"][filling] == batch["input_ids"][0]).all(), "filled with its first sample"
        assert min(gear for gear in seq_lens if gear >= max(lengths[row] for row in rows[~filling])) == width
        for row, ids, mask in zip(rows, batch["input_ids"], batch["seen"]):
            assert row < 0 or ids[mask == 1].tolist() == rows_of(lengths)["input_ids"][row], "no sample is cut"


def test_batches_by_hand(tmp_path):
    flags = batches.write(written(tmp_path, [2, 5, 1, 4, 2], [2, 6]), 2, tmp_path)
    assert flags == ["--input", f"{tmp_path}/input_ids,{tmp_path}/seen", "--auto_set_dymdims_mode", "1"]
    assert np.load(tmp_path / "order.npy").tolist() == [[2, 0], [4, 3], [1, -1]]
    assert np.load(tmp_path / "input_ids" / "batch_00000.npy").tolist() == [[201, 0], [1, 2]]
    assert np.load(tmp_path / "input_ids" / "batch_00001.npy").tolist() == [[401, 402, 0, 0, 0, 0], [301, 302, 303, 304, 0, 0]]
    assert np.load(tmp_path / "input_ids" / "batch_00002.npy").tolist() == [[101, 102, 103, 104, 105, 0]] * 2
    assert np.load(tmp_path / "seen" / "batch_00000.npy").tolist() == [[1, 0], [1, 1]]


def test_batches_of_one_length_keep_the_order_of_the_corpus(tmp_path):
    flags = batches.write(written(tmp_path, [2, 5, 1, 4, 2], [6]), 2, tmp_path)
    assert flags == ["--input", f"{tmp_path}/input_ids,{tmp_path}/seen", "--batchsize", "2"]
    assert np.load(tmp_path / "order.npy").tolist() == [[0, 1], [2, 3], [4, -1]]


@given(LENGTHS.map(np.array), SIZES)
def test_batches_of_similar_lengths(lengths, size):
    made = list(batches.by_length(lengths, size))
    assert sorted(np.concatenate(made)) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in made[:-1]) and 1 <= len(made[-1]) <= size
    assert (np.diff(lengths[np.concatenate(made)]) >= 0).all()


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_something(tmp_path, size):
    with pytest.raises(UserError, match=f"batch size is {size}, expected 1 or more"):
        batches.write(written(tmp_path, [4, 5], [5]), size, tmp_path / "batches")


@pytest.mark.parametrize("by_gear, place", [(False, "input_ids"), (True, "5/input_ids")])
def test_batches_of_a_call_before_are_replaced(tmp_path, by_gear, place):
    written(tmp_path, [4, 5, 1], [5])
    for size in (1, 2):
        batches.write(tmp_path, size, tmp_path, by_gear)
    assert sorted(path.name for path in (tmp_path / place).iterdir()) == ["batch_00000.npy", "batch_00001.npy"]


# --- A file a sample, as the originals have it by hand


@RELAXED
@given(LENGTHS, st.integers(0, 3))
def test_a_file_a_sample_holds_it_padded_and_its_answer_comes_back(lengths, more):
    width = max(lengths) + more
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches.write_files(written(folder, lengths, [width]), folder / "by_hand")
        (folder / "outputs").mkdir()
        for kind, rows in zip(FOLDERS, rows_of(lengths).values()):
            found = sorted((folder / "by_hand" / kind).iterdir())
            assert [path.name for path in found] == [f"data_{n:08d}.npy" for n in range(len(lengths))]
            assert np.array_equal([np.load(path) for path in found], padded(rows, width)) and np.load(found[0]).dtype == np.int64
        for path in (folder / "by_hand" / "input_ids").iterdir():
            np.save(folder / "outputs" / f"{path.stem}_0.npy", tokens(np.load(path)[None]))
        answers = batches.read_outputs(folder / "outputs", len(lengths))
        flat = batches.read_flat_outputs(folder / "outputs", np.array(lengths))
    assert np.array_equal(answers, tokens(padded(rows_of(lengths)["input_ids"], width)))
    assert np.array_equal(flat[:, 0], np.concatenate(rows_of(lengths)["input_ids"]))


def test_files_of_a_call_before_are_replaced(tmp_path):
    for lengths in ([4, 5, 1], [2, 2]):
        batches.write_files(written(tmp_path, lengths, [5]), tmp_path)
    assert len(list((tmp_path / "seen").iterdir())) == 2


def test_a_file_a_sample_wants_one_length(tmp_path):
    with pytest.raises(UserError, match="has 2 lengths; a file a sample needs one"):
        batches.write_files(written(tmp_path, [4, 5], [4, 5]), tmp_path)


@pytest.mark.parametrize("line, said, left", [
    ("batch --inputs . --batch_size 2 --output b", "--input b/input_ids,b/seen --batchsize 2\n", "b/seen/batch_00000.npy"),
    ("batch --inputs . --batch_size 2 --output b --bins", "", "b/seen/0.bin"),
    ("batch --inputs . --batch_size 2 --output b --by_gear", "", "b/5/seen/batch_00000.npy"),
    ("files --inputs . --output f", "", "f/seen/data_00000001.npy")])
def test_the_verbs(tmp_path, monkeypatch, capsys, line, said, left):
    written(tmp_path, [4, 5], [5])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["npukit", *line.split()])
    verbs.main()
    assert capsys.readouterr().out == said and (tmp_path / left).exists()


# --- Damaged outputs


@pytest.fixture
def outputs(tmp_path):
    """Outputs of three batches of two, in gears of 2, 4 and 6, beside their batches."""
    batches.write(written(tmp_path, [2, 1, 4, 3, 6], [2, 4, 6]), 2, tmp_path / "batches")
    infer(tmp_path / "batches", tmp_path / "outputs", tokens)
    return tmp_path / "outputs"


def missing(path):
    path.unlink()


def one_more(path):
    np.save(path.with_name("batch_00003_0.npy"), np.load(path))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-5])


def empty(path):
    path.write_bytes(b"")


def pickled(path):
    np.save(path, np.array([{}]), allow_pickle=True)


def saved(*shape):
    def misshapen(path):
        np.save(path, np.zeros(shape, np.float32))
    return misshapen


@pytest.mark.parametrize("damage, reason", [
    (missing, r"1 missing, 0 too many \(batch_00001_0\.npy\); run the infer stage again"),
    (one_more, r"0 missing, 1 too many \(batch_00003_0\.npy\); run the infer stage again"),
    (cut_short, r"batch_00001_0\.npy is not a whole \.npy file"), (empty, r"batch_00001_0\.npy is not a whole \.npy file"),
    (pickled, r"batch_00001_0\.npy is not a whole \.npy file"),
    (saved(1, 4, 3), r"batch_00001_0\.npy is \[1, 4, 3\], expected \[2, L, 3\]"),
    (saved(3, 4, 3), r"batch_00001_0\.npy is \[3, 4, 3\], expected \[2, L, 3\]"),
    (saved(2, 4, 2), r"batch_00001_0\.npy is \[2, 4, 2\], expected \[2, L, 3\]"),
    (saved(2, 4), r"batch_00001_0\.npy is \[2, 4\], expected \[2, L, 3\]"),
    (saved(), r"batch_00001_0\.npy is \[\], expected \[2, L, 3\]")], ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_batch_of_outputs_is_named(outputs, damage, reason):
    damage(outputs / "batch_00001_0.npy")
    for read in (lambda: batches.read_outputs(outputs, 5), lambda: batches.read_flat_outputs(outputs, np.array([2, 1, 4, 3, 6]))):
        with pytest.raises(UserError, match=reason):
            read()


@pytest.mark.parametrize("samples", [4, 6])
def test_outputs_of_other_samples_are_refused(outputs, samples):
    with pytest.raises(UserError, match=rf"order\.npy is not the order of these {samples} samples"):
        batches.read_outputs(outputs, samples)


def test_another_output_of_the_same_run(outputs):
    for number, rows in enumerate(np.load(batches.order_of(outputs))):
        np.save(outputs / f"batch_{number:05d}_1.npy", rows[:, None])
    assert batches.read_outputs(outputs, 5, index=1)[:, 0].tolist() == list(range(5))


@pytest.fixture
def by_hand(tmp_path):
    """Twelve samples' outputs, a file each with a batch axis of one; and what they hold."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    arrays = np.random.default_rng(0).random((12, 3, 2), np.float32)
    for number, array in enumerate(arrays):
        np.save(folder / f"data_{number:08d}_0.npy", array[None])
        np.save(folder / f"data_{number:08d}_1.npy", np.array([number]))
    return folder, arrays


def test_a_file_a_sample_is_read_in_the_order_of_the_samples(by_hand):
    folder, arrays = by_hand
    assert np.array_equal(batches.read_outputs(folder, 12), arrays)
    assert np.array_equal(batches.read_outputs(folder, 12, index=1), np.arange(12))


def test_eleven_outputs_do_not_hide_behind_ten(by_hand):
    folder, _ = by_hand
    for number in range(12):
        np.save(folder / f"data_{number:08d}_10.npy", np.array([-1]))
    assert batches.read_outputs(folder, 12).shape == (12, 3, 2)


@pytest.mark.parametrize("name, damage, reason", [
    ("data_00000007_0.npy", missing, r"1 missing, 0 too many \(data_00000007_0\.npy\)"),
    ("data_00000012_0.npy", saved(1, 3, 2), r"0 missing, 1 too many \(data_00000012_0\.npy\)"),
    ("data_00000007_0.npy", saved(1, 3, 3), r"data_00000007_0\.npy is \[1, 3, 3\], expected \[1, 3, 2\]"),
    ("data_00000007_0.npy", saved(1, 4, 2), r"data_00000007_0\.npy is \[1, 4, 2\], expected \[1, 3, 2\]"),
    ("data_00000000_0.npy", saved(2, 3, 2), r"data_00000000_0\.npy is \[2, 3, 2\], expected \[1, 3, 2\]"),
    ("data_00000007_0.npy", cut_short, r"data_00000007_0\.npy is not a whole"),
    ("data_00000007_0.npy", pickled, r"data_00000007_0\.npy is not a whole")])
def test_a_damaged_file_of_outputs_is_named(by_hand, name, damage, reason):
    damage(by_hand[0] / name)
    with pytest.raises(UserError, match=reason):
        batches.read_outputs(by_hand[0], 12)


def test_no_outputs_at_all(tmp_path):
    with pytest.raises(UserError, match="run the infer stage first"):
        batches.read_outputs(tmp_path / "outputs", 12)


# --- For msame: .bin files, one length a folder


@RELAXED
@given(cases())
def test_bins_are_the_same_batches_a_folder_for_each_gear(case):
    lengths, seq_lens, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = written(Path(name), lengths, seq_lens)
        batches.write(folder, size, folder / "npy")
        batches.write(folder, size, folder / "bin", bins=True)
        assert np.array_equal(np.load(folder / "npy" / "order.npy"), np.load(folder / "bin" / "order.npy"))
        found = {path.relative_to(folder / "bin") for path in (folder / "bin").rglob("*.bin")}
        for kind in FOLDERS:
            for number in range(len(np.load(folder / "npy" / "order.npy"))):
                batch = np.load(folder / "npy" / kind / f"batch_{number:05d}.npy")
                place = Path(kind, f"{number}.bin") if len(seq_lens) == 1 else Path(str(batch.shape[1]), kind, f"{number}.bin")
                assert np.array_equal(np.fromfile(folder / "bin" / place, np.int64).reshape(size, -1), batch)
                found.remove(place)
        assert not found, "and no others"


def test_another_call_leaves_no_bin_of_the_one_before(tmp_path):
    batches.write(written(tmp_path, [2, 5, 1, 4, 2], [2, 5]), 1, tmp_path, bins=True)
    batches.write(written(tmp_path, [2, 5], [5]), 2, tmp_path, bins=True)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.bin"))] == ["input_ids/0.bin", "seen/0.bin"]
