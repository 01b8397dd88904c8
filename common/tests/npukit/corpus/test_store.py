"""A corpus' inputs on disk: written flat, read back, padded and unpadded; what is refused."""
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npukit.corpus import store
from npukit.corpus.store import Input
from npukit.errors import UserError

CORPUS = {"name": "corpus"}
RELAXED = settings(deadline=None, max_examples=50)
INPUTS = {"ids": Input("input_ids"), "vectors": Input("input", "float32", (3,), 7)}
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def rows_of(lengths):
    """Return two inputs: ids that say which token of which sample they are, and three numbers a token."""
    ids = [[100 * n + place + 1 for place in range(length)] for n, length in enumerate(lengths)]
    return {"ids": ids, "vectors": [np.outer(row, [1, 2, 3]).astype(np.float32) for row in ids]}


@RELAXED
@given(LENGTHS, st.integers(0, 3))
def test_samples_are_read_as_they_were_written(lengths, more):
    rows, seq_lens = rows_of(lengths), sorted({1, max(lengths) + more})
    with tempfile.TemporaryDirectory() as folder:
        store.write(Path(folder), INPUTS, rows, seq_lens, CORPUS)
        manifest, samples = store.read(Path(folder))
        assert manifest == {"samples": len(lengths), "plan": {"kind": "gears", "lengths": seq_lens}, "corpus": CORPUS, "inputs": {
            "ids": {"file": "input_ids.npy", "dtype": "int64", "pad": 0}, "vectors": {"file": "input.npy", "dtype": "float32", "pad": 7}}}
        assert Path(folder, "seq_lens.txt").read_text().split() == [str(length) for length in seq_lens]
        assert store.read_seq_lens(Path(folder)) == seq_lens
        assert {path.name for path in Path(folder).iterdir()} == {
            "manifest.json", "lengths.npy", "seq_lens.txt", "input_ids.npy", "input.npy"}, "and nothing that is padded"
    assert list(samples.flat) == list(INPUTS), "the order of the graph"
    assert samples.lengths.tolist() == lengths and len(samples) == len(lengths)
    for name, spec in INPUTS.items():
        assert samples.flat[name].dtype == spec.dtype and np.array_equal(samples.flat[name], np.concatenate(rows[name]))


@given(LENGTHS, st.integers(0, 3), st.randoms())
def test_padded_and_unpadded_again(lengths, more, chance):
    samples, width = store.join(INPUTS, rows_of(lengths)), max(lengths) + more
    rows = np.array(chance.choices(range(len(lengths)), k=5))
    padded = samples.padded(rows, width)
    for name, spec in INPUTS.items():
        assert padded[name].shape == (5, width, *spec.shape) and padded[name].dtype == spec.dtype
        outside = np.arange(width) >= samples.lengths[rows][:, None]
        assert (padded[name][outside] == spec.pad).all()
        expected = np.concatenate([rows_of(lengths)[name][row] for row in rows])
        assert np.array_equal(store.unpad(padded[name], samples.lengths[rows]), expected)


def test_padding_by_hand():
    samples = store.Samples({"wide": np.arange(9).reshape(3, 3)}, np.array([1, 2]), {"wide": 7})
    assert samples.padded(np.array([1, 0]), 3)["wide"].tolist() == [
        [[3, 4, 5], [6, 7, 8], [7] * 3], [[0, 1, 2], [7] * 3, [7] * 3]]


def test_a_sample_is_never_cut_to_a_length():
    with pytest.raises(ValueError, match="could not broadcast"):
        store.join(INPUTS, rows_of([2, 5])).padded(np.array([1]), 4)


def float32(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("name, wrong", [
    ("ids", np.zeros(4, np.int32)), ("ids", [1.5, 2, 3, 4]), ("ids", np.zeros((1, 4), np.int64)), ("ids", np.zeros((4, 1), np.int64)),
    ("ids", np.float64(0)), ("ids", 0),
    ("vectors", np.zeros((4, 3))), ("vectors", float32(4, 2)), ("vectors", float32(4)), ("vectors", float32(3, 3)),
    ("vectors", float32(5, 3))])
def test_a_sample_of_another_dtype_or_shape_is_refused_with_its_number(tmp_path, name, wrong):
    rows = rows_of([2, 4, 3])
    rows[name][1] = wrong
    with pytest.raises(ValueError, match="sample 1, "):
        store.write(tmp_path, INPUTS, rows, [9], CORPUS)
    assert not list(tmp_path.iterdir())


def test_a_sample_without_tokens_is_refused_with_its_number(tmp_path):
    with pytest.raises(ValueError, match=r"sample 2, ids: .*, and one token or more"):
        store.write(tmp_path, INPUTS, rows_of([2, 4, 0]), [9], CORPUS)


def test_a_sample_longer_than_the_longest_length_is_refused(tmp_path):
    with pytest.raises(UserError, match="sample 1 has 5 tokens, the longest gear is 4; it is never cut"):
        store.write(tmp_path, INPUTS, rows_of([4, 5]), [2, 4], CORPUS)
    assert not list(tmp_path.iterdir())


def test_another_call_replaces_what_the_one_before_left(tmp_path):
    store.write(tmp_path, INPUTS, rows_of([2, 5, 1]), [2, 5], CORPUS)
    mapped = store.read(tmp_path)[1]
    store.write(tmp_path, INPUTS, rows_of([3]), [3], CORPUS)
    manifest, samples = store.read(tmp_path)
    assert (manifest["samples"], samples.lengths.tolist(), manifest["plan"]["lengths"]) == (1, [3], [3])
    assert len(mapped.flat["ids"]) == 8 and mapped.flat["ids"][-1] == 201, "whoever reads the old ones goes on reading them"


@pytest.mark.parametrize("name", ["lengths.npy", "input_ids.npy", "manifest.json"])
@pytest.mark.parametrize("content", [b"{", b"", None])
def test_damaged_inputs_are_named(tmp_path, name, content):
    store.write(tmp_path, INPUTS, rows_of([2, 5]), [5], CORPUS)
    (tmp_path / name).write_bytes(content) if content is not None else (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name} is not "):
        store.read(tmp_path)


def test_an_input_cut_short_is_named(tmp_path):
    store.write(tmp_path, INPUTS, rows_of([2, 5]), [5], CORPUS)
    path = tmp_path / "input_ids.npy"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"input_ids\.npy is not a whole \.npy file"):
        store.read(tmp_path)


def test_inputs_that_do_not_belong_together_are_named(tmp_path):
    store.write(tmp_path, INPUTS, rows_of([2, 5]), [5], CORPUS)
    np.save(tmp_path / "lengths.npy", np.array([2, 4]))
    with pytest.raises(UserError, match=r"input_ids\.npy is int64\[7\], expected int64\[6, \.\.\.\]; run preprocess again"):
        store.read(tmp_path)


def test_a_plan_of_another_kind_is_named(tmp_path):
    store.write(tmp_path, INPUTS, rows_of([2, 5]), [5], CORPUS)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "plan": {"kind": "spirals"}}))
    with pytest.raises(UserError, match="a plan of kind 'spirals', this npukit knows gears"):
        store.read(tmp_path)


@pytest.mark.parametrize("corpus, warned", [
    ({}, False), ({"unknown_share": 0.0}, False), ({"unknown_share": 0.05}, False), ({"unknown_share": 0.0501}, True)])
def test_much_of_a_text_unknown_is_said_on_stderr(capsys, corpus, warned):
    store.warn_of_unknown(corpus)
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == warned
    assert said.err.startswith("warning: 5.0% of the text is unknown to the vocabulary ([UNK]), more than 5%") is warned
