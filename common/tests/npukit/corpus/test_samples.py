"""Sample files and their manifest, written and read back; outputs as the inference tool writes them."""
import json

import numpy as np
import pytest

from npukit.corpus.samples import Input, SampleWriter, read_inputs, read_outputs, warn_of_unknown
from npukit.errors import UserError

IDS, MASK = Input("inputs/ids", "int64", (4,)), Input("inputs/mask", "float32", (2, 4))


@pytest.fixture
def inputs(tmp_path):
    """Three samples of two inputs, in tmp_path/prepared."""
    rng = np.random.default_rng(0)
    arrays = {"ids": rng.integers(0, 9, (3, 4)), "mask": rng.random((3, 2, 4), np.float32)}
    writer = SampleWriter(tmp_path / "prepared", {"ids": IDS, "mask": MASK})
    for ids, mask in zip(*arrays.values()):
        writer.add(ids=ids, mask=mask)
    writer.finish({"name": "corpus"})
    return tmp_path / "prepared", arrays


def test_round_trip(inputs):
    folder, arrays = inputs
    manifest, read = read_inputs(folder)
    assert (manifest["samples"], manifest["corpus"]) == (3, {"name": "corpus"})
    assert list(read) == ["ids", "mask"], "the order of the graph"
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
    assert sorted(path.name for path in (folder / "inputs" / "ids").iterdir()) == [f"data_{n:08d}.npy" for n in range(3)]


@pytest.mark.parametrize("wrong", [np.zeros(4, np.int32), np.zeros(5, np.int64), np.zeros((1, 4), np.int64), np.float64(0)])
def test_a_sample_of_another_dtype_or_shape_is_refused_with_its_number(tmp_path, wrong):
    writer = SampleWriter(tmp_path, {"ids": IDS})
    writer.add(ids=np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="sample 1, ids"):
        writer.add(ids=wrong)
    assert not (tmp_path / "manifest.json").exists(), "the manifest comes last"


@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-3]), lambda path: path.write_bytes(b"")])
def test_a_damaged_input_is_named(inputs, damage):
    folder, _ = inputs
    damage(folder / "inputs" / "ids" / "data_00000001.npy")
    with pytest.raises(UserError, match=r"ids/data_00000001\.npy is not a whole \.npy file"):
        read_inputs(folder)


@pytest.fixture
def outputs(tmp_path):
    """Twelve samples' outputs as the tool writes them, a batch axis of one on each; and the summary beside them."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    arrays = np.random.default_rng(0).random((12, 3, 2), np.float32)
    for number, array in enumerate(arrays):
        np.save(folder / f"data_{number:08d}_0.npy", array[None])
        np.save(folder / f"data_{number:08d}_1.npy", np.array([number]))
    (tmp_path / "outputs_summary.json").write_text(json.dumps({}))
    return folder, arrays


def test_outputs_are_read_in_the_order_of_the_samples(outputs):
    folder, arrays = outputs
    assert np.array_equal(read_outputs(folder, 12), arrays)
    assert np.array_equal(read_outputs(folder, 12, index=1), np.arange(12))


def test_eleven_outputs_do_not_hide_behind_ten(outputs):
    folder, _ = outputs
    for number in range(12):
        np.save(folder / f"data_{number:08d}_10.npy", np.array([-1]))
    assert read_outputs(folder, 12).shape == (12, 3, 2)


def missing(folder):
    (folder / "data_00000007_0.npy").unlink()


def cut_short(folder):
    (folder / "data_00000007_0.npy").write_bytes(b"\x93NUMPY")


def pickled(folder):
    np.save(folder / "data_00000007_0.npy", np.array([{}]), allow_pickle=True)


def misshapen(folder):
    np.save(folder / "data_00000007_0.npy", np.zeros((1, 3, 3), np.float32))


def a_batch(folder):
    np.save(folder / "data_00000000_0.npy", np.zeros((2, 3, 2), np.float32))


def too_many(folder):
    np.save(folder / "data_00000012_0.npy", np.zeros((1, 3, 2), np.float32))


@pytest.mark.parametrize("damage, reason", [
    (missing, r"1 missing, 0 too many \(data_00000007_0\.npy\)"), (too_many, r"0 missing, 1 too many \(data_00000012_0\.npy\)"),
    (misshapen, r"data_00000007_0\.npy is \[1, 3, 3\], expected \[1, 3, 2\]"),
    (a_batch, r"data_00000000_0\.npy is \[2, 3, 2\], expected \[1, 3, 2\]"),
    (cut_short, r"data_00000007_0\.npy is not a whole"), (pickled, r"data_00000007_0\.npy is not a whole")],
    ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_outputs_are_named(outputs, damage, reason):
    folder, _ = outputs
    damage(folder)
    with pytest.raises(UserError, match=reason):
        read_outputs(folder, 12)


def test_no_outputs_at_all(tmp_path):
    with pytest.raises(UserError, match="run the infer stage first"):
        read_outputs(tmp_path / "outputs", 12)


@pytest.mark.parametrize("corpus, warned", [
    ({}, False), ({"unknown_share": 0.0}, False), ({"unknown_share": 0.05}, False), ({"unknown_share": 0.0501}, True)])
def test_much_of_a_text_unknown_is_said_on_stderr(capsys, corpus, warned):
    warn_of_unknown(corpus)
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == warned
    assert said.err.startswith("warning: 5.0% of the text is unknown to the vocabulary ([UNK]), more than 5%") is warned
