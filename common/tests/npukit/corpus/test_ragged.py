"""Samples of differing lengths: written, run as whole batches of one gear each, and back in the order of the corpus."""
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npukit.corpus import ragged
from npukit.corpus.samples import Input, SampleWriter
from npukit.errors import UserError

CORPUS = {"name": "corpus"}
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)
SIZES = st.integers(1, 5)
RELAXED = settings(deadline=None, max_examples=50)


def rows_of(lengths):
    """Return two inputs: ids that say which token of which sample they are, and the mask."""
    return {"input_ids": [[100 * n + place + 1 for place in range(length)] for n, length in enumerate(lengths)],
            "attention_mask": [[1] * length for length in lengths]}


def padded(rows, width):
    return np.array([row + [0] * (width - len(row)) for row in rows])


@st.composite
def gears(draw, longest):
    return sorted({*draw(st.sets(st.integers(1, 12), max_size=3)), longest + draw(st.integers(0, 3))})


@st.composite
def cases(draw):
    """(lengths of the samples, gears that hold them, batch size)."""
    lengths = draw(LENGTHS)
    return lengths, draw(gears(max(lengths))), draw(SIZES)


def infer(batches, folder, model):
    """Run the model, ids [N, L] -> output, on what write_batches wrote, as ais_bench does."""
    folder.mkdir()
    for path in sorted((batches / "input_ids").iterdir()):
        np.save(folder / f"{path.stem}_0.npy", model(np.load(path)))


def sums(ids):
    """Return an answer for each sample, [N, 2]."""
    return np.stack([ids.sum(1), ids.max(1)], axis=1).astype(np.float32)


def tokens(ids):
    """Return an answer for each token, [N, L, 3]."""
    return np.stack([ids, -ids, 2 * ids], axis=2).astype(np.float32)


@RELAXED
@given(cases())
def test_samples_are_read_as_they_were_written(case):
    lengths, gears, _ = case
    rows = rows_of(lengths)
    with tempfile.TemporaryDirectory() as folder:
        ragged.write(Path(folder), rows, gears, CORPUS)
        manifest, arrays, found = ragged.read(Path(folder))
    assert manifest == {"samples": len(lengths), "gears": gears, "corpus": CORPUS,
                        "inputs": {"input_ids": "input_ids.npy", "attention_mask": "attention_mask.npy"}}
    assert list(arrays) == list(rows), "the order of the graph"
    assert found.tolist() == lengths
    for name, array in arrays.items():
        assert array.dtype == np.int64 and np.array_equal(array, padded(rows[name], max(lengths)))


@pytest.mark.parametrize("model", [sums, tokens], ids=lambda model: model.__name__)
@RELAXED
@given(case=cases())
def test_outputs_come_back_in_the_order_of_the_corpus(model, case):
    lengths, gears, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ragged.write(folder, rows_of(lengths), gears, CORPUS)
        ragged.write_batches(folder, size, folder / "batches")
        infer(folder / "batches", folder / "outputs", model)
        outputs = ragged.read_outputs(folder / "outputs", np.load(folder / "batches" / "order.npy"))
    expected = model(padded(rows_of(lengths)["input_ids"], max(gears)))
    used = outputs.shape[1] if model is tokens else None  # no further than the longest gear that has samples
    assert len(outputs) == len(lengths) and np.array_equal(outputs, expected[:, :used])
    assert model is sums or used >= max(lengths)


@RELAXED
@given(cases())
def test_a_batch_is_whole_and_of_one_gear(case):
    lengths, gears, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ragged.write(folder, rows_of(lengths), gears, CORPUS)
        ragged.write_batches(folder, size, folder)
        order = np.load(folder / "order.npy")
        names = [f"batch_{number:05d}.npy" for number in range(len(order))]
        for kind in ("input_ids", "attention_mask"):
            assert sorted(path.name for path in (folder / kind).iterdir()) == names
        batches = [{kind: np.load(folder / kind / batch) for kind in ("input_ids", "attention_mask")} for batch in names]
    assert order.shape[1] == size and sorted(order[order >= 0]) == list(range(len(lengths))), "each sample once"
    widths = [batch["input_ids"].shape[1] for batch in batches]
    assert widths == sorted(widths) and set(widths) <= set(gears), "the shortest samples come first"
    assert (order[:-1] >= 0).all(), "none but the last batch is filled up"
    for rows, batch, width in zip(order, batches, widths):
        assert all(array.shape == (size, width) and array.dtype == np.int64 for array in batch.values())
        filling = rows < 0
        assert not filling[0] and (batch["input_ids"][filling] == batch["input_ids"][0]).all(), "filled with its first sample"
        assert min(gear for gear in gears if gear >= max(lengths[row] for row in rows[~filling])) == width


def test_batches_by_hand(tmp_path):
    ragged.write(tmp_path, rows_of([2, 5, 1, 4, 2]), [2, 6], CORPUS)
    ragged.write_batches(tmp_path, 2, tmp_path)
    assert np.load(tmp_path / "order.npy").tolist() == [[2, 0], [4, 3], [1, -1]]
    assert np.load(tmp_path / "input_ids" / "batch_00000.npy").tolist() == [[201, 0], [1, 2]]
    assert np.load(tmp_path / "input_ids" / "batch_00001.npy").tolist() == [[401, 402, 0, 0, 0, 0], [301, 302, 303, 304, 0, 0]]
    assert np.load(tmp_path / "input_ids" / "batch_00002.npy").tolist() == [[101, 102, 103, 104, 105, 0]] * 2
    assert np.load(tmp_path / "attention_mask" / "batch_00000.npy").tolist() == [[1, 0], [1, 1]]


def test_samples_of_one_length_get_their_own_back(tmp_path):
    """Read the other kind of inputs: a file a sample, all filled up to one length."""
    lengths, names = [3, 1, 6], ("input_ids", "attention_mask")
    rows = rows_of(lengths)
    writer = SampleWriter(tmp_path, {name: Input(name, "int64", (8,)) for name in names})
    for ids, mask in zip(*(padded(rows[name], 8) for name in names)):
        writer.add(input_ids=ids, attention_mask=mask)
    writer.finish(CORPUS)
    manifest, arrays, found = ragged.read(tmp_path)
    assert manifest["corpus"] == CORPUS and found.tolist() == lengths
    assert all(np.array_equal(arrays[name], padded(rows[name], 6)) for name in names)


@given(LENGTHS.map(np.array), SIZES)
def test_batches_of_like_lengths(lengths, size):
    batches = list(ragged.by_length(lengths, size))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1]) and 1 <= len(batches[-1]) <= size
    assert (np.diff(lengths[np.concatenate(batches)]) >= 0).all()


def test_a_sample_longer_than_the_longest_gear_is_refused(tmp_path):
    with pytest.raises(UserError, match="sample 1 has 5 tokens, the longest gear is 4"):
        ragged.write(tmp_path, rows_of([4, 5]), [2, 4], CORPUS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_something(tmp_path, size):
    ragged.write(tmp_path, rows_of([4, 5]), [5], CORPUS)
    with pytest.raises(UserError, match=f"batch size is {size}, expected 1 or more"):
        ragged.write_batches(tmp_path, size, tmp_path / "batches")


def test_batches_of_a_call_before_are_replaced(tmp_path):
    ragged.write(tmp_path, rows_of([4, 5, 1]), [5], CORPUS)
    for size in (1, 2):
        ragged.write_batches(tmp_path, size, tmp_path)
    assert sorted(path.name for path in (tmp_path / "input_ids").iterdir()) == ["batch_00000.npy", "batch_00001.npy"]


@pytest.fixture
def outputs(tmp_path):
    """(folder of the outputs of three batches of two, in gears of 2, 4 and 6; their order)."""
    ragged.write(tmp_path, rows_of([2, 1, 4, 3, 6]), [2, 4, 6], CORPUS)
    ragged.write_batches(tmp_path, 2, tmp_path)
    infer(tmp_path, tmp_path / "outputs", tokens)
    return tmp_path / "outputs", np.load(tmp_path / "order.npy")


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
    (missing, r"batch_00001_0\.npy is missing; run the infer stage again"),
    (one_more, r"batch_00003_0\.npy is one too many; run the infer stage again"),
    (cut_short, r"batch_00001_0\.npy is not a whole \.npy file"), (empty, r"batch_00001_0\.npy is not a whole \.npy file"),
    (pickled, r"batch_00001_0\.npy is not a whole \.npy file"),
    (saved(1, 4, 3), r"batch_00001_0\.npy is \[1, 4, 3\], expected \[2, L, 3\]"),
    (saved(3, 4, 3), r"batch_00001_0\.npy is \[3, 4, 3\], expected \[2, L, 3\]"),
    (saved(2, 4, 2), r"batch_00001_0\.npy is \[2, 4, 2\], expected \[2, L, 3\]"),
    (saved(2, 4), r"batch_00001_0\.npy is \[2, 4\], expected \[2, L, 3\]"),
    (saved(), r"batch_00001_0\.npy is \[\], expected \[2, L, 3\]")], ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_batch_of_outputs_is_named(outputs, damage, reason):
    folder, order = outputs
    damage(folder / "batch_00001_0.npy")
    with pytest.raises(UserError, match=reason):
        ragged.read_outputs(folder, order)


@pytest.mark.parametrize("name", ["lengths.npy", "input_ids.npy", "manifest.json"])
def test_damaged_inputs_are_named(tmp_path, name):
    ragged.write(tmp_path, rows_of([2, 5]), [5], CORPUS)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(UserError, match=f"{name} is not "):
        ragged.read_packed(tmp_path)


def test_another_output_of_the_same_run(outputs):
    folder, order = outputs
    for number, rows in enumerate(order):
        np.save(folder / f"batch_{number:05d}_1.npy", rows[:, None])
    assert ragged.read_outputs(folder, order, index=1)[:, 0].tolist() == list(range(5))


def wide(lengths):
    """Return rows of [length, 3] int32, each token's numbers its own."""
    starts = np.cumsum([0, *lengths])
    return [np.arange(3 * start, 3 * stop, dtype=np.int32).reshape(-1, 3) for start, stop in itertools.pairwise(starts)]


@RELAXED
@given(cases())
def test_tokens_of_several_numbers_apart_and_back(case):
    """Each gear's batches in a folder of its own; every token's output comes back, and nothing of the filling."""
    lengths, gears, size = case
    rows = wide(lengths)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ragged.write(folder, {"input": rows}, gears, CORPUS)
        ragged.write_batches(folder, size, folder / "batches", apart=True)
        (folder / "outputs").mkdir()
        for path in (folder / "batches").glob("*/input/*.npy"):
            batch = np.load(path)
            assert batch.dtype == np.int32 and batch.shape == (size, int(path.parent.parent.name), 3)
            np.save(folder / "outputs" / f"{path.stem}_0.npy", 2.0 * batch)
        found = ragged.read_flat_outputs(folder / "outputs", np.load(folder / "batches" / "order.npy"), np.array(lengths))
        flat = ragged.read_flat(folder)[1]["input"]
    assert np.array_equal(flat, np.concatenate(rows)) and np.array_equal(found, 2.0 * flat)


def test_batches_apart_of_a_call_before_are_replaced(tmp_path):
    ragged.write(tmp_path, {"input": wide([4, 5, 1])}, [5], CORPUS)
    for size in (1, 2):
        ragged.write_batches(tmp_path, size, tmp_path / "batches", apart=True)
    assert len(list(tmp_path.glob("batches/*/input/*.npy"))) == 2


@pytest.mark.parametrize("filling", [0, 7])
def test_the_filling_is_what_was_asked_for(filling):
    flat, lengths = np.concatenate(wide([1, 2])), np.array([1, 2])
    assert ragged.padded(flat, lengths, np.array([1, 0]), 3, filling).tolist() == [
        [[3, 4, 5], [6, 7, 8], [filling] * 3], [[0, 1, 2], [filling] * 3, [filling] * 3]]


# --- For msame: .bin files, one length a folder; and what the folders are called


@RELAXED
@given(cases())
def test_bins_are_the_same_batches_a_folder_for_each_gear(case):
    lengths, gears, size = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ragged.write(folder, rows_of(lengths), gears, CORPUS, {"attention_mask": "seen"})
        ragged.write_batches(folder, size, folder / "npy")
        ragged.write_batches(folder, size, folder / "bin", bins=True)
        assert np.array_equal(np.load(folder / "npy" / "order.npy"), np.load(folder / "bin" / "order.npy"))
        found = {path.relative_to(folder / "bin") for path in (folder / "bin").rglob("*.bin")}
        for kind in ("input_ids", "seen"):
            for number in range(len(np.load(folder / "npy" / "order.npy"))):
                batch = np.load(folder / "npy" / kind / f"batch_{number:05d}.npy")
                place = Path(kind, f"{number}.bin") if len(gears) == 1 else Path(str(batch.shape[1]), kind, f"{number}.bin")
                assert np.array_equal(np.fromfile(folder / "bin" / place, np.int64).reshape(size, -1), batch)
                found.remove(place)
        assert not found, "and no others"


def test_batches_of_one_length_keep_the_order_of_the_corpus(tmp_path):
    ragged.write(tmp_path, rows_of([2, 5, 1, 4, 2]), [6], CORPUS)
    ragged.write_batches(tmp_path, 2, tmp_path, bins=True)
    assert np.load(tmp_path / "order.npy").tolist() == [[0, 1], [2, 3], [4, -1]]


def test_another_call_leaves_no_bin_of_the_one_before(tmp_path):
    ragged.write(tmp_path, rows_of([2, 5, 1, 4, 2]), [2, 5], CORPUS)
    ragged.write_batches(tmp_path, 1, tmp_path, bins=True)
    ragged.write(tmp_path, rows_of([2, 5]), [5], CORPUS)
    ragged.write_batches(tmp_path, 2, tmp_path, bins=True)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.bin"))] == ["attention_mask/0.bin", "input_ids/0.bin"]


def test_folders_in_another_order_than_the_graphs_are_refused(tmp_path):
    ragged.write(tmp_path, rows_of([2]), [2], CORPUS, {"attention_mask": "seen"})
    ragged.require_order(tmp_path, ["x/input_ids", "x/seen"])
    for given_order in (["x/seen", "x/input_ids"], ["input_ids"], ["input_ids", "attention_mask"]):
        with pytest.raises(UserError, match=r"the graph takes, in this order, input_ids \(as input_ids\), seen \(as attention_mask\)"):
            ragged.require_order(tmp_path, given_order)
