"""AllenNLP's files of a bidirectional language model: options.json and weights.hdf5, read, checked, or made at random."""
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import characters
from npukit import files
from npukit.errors import UserError

Shapes = dict[str, tuple[int, ...]]


def shapes(options: dict) -> Shapes:
    """Return the data sets that the weights file of these options holds: name -> shape."""
    cnn, lstm = options["char_cnn"], options["lstm"]
    dim, filters = cnn["embedding"]["dim"], cnn["filters"]
    features, width, cells = sum(count for _, count in filters), lstm["projection_dim"], lstm["dim"]
    found = {"char_embed": (cnn["n_characters"] - 1, dim), "CNN_proj/W_proj": (features, width),
             "CNN_proj/b_proj": (width,)}
    for i, (size, count) in enumerate(filters):
        found |= {f"CNN/W_cnn_{i}": (1, size, dim, count), f"CNN/b_cnn_{i}": (count,)}
    for k in range(cnn["n_highway"]):
        for half in ("transform", "carry"):
            found |= {f"CNN_high_{k}/W_{half}": (features, features), f"CNN_high_{k}/b_{half}": (features,)}
    for direction in range(2):
        for layer in range(lstm["n_layers"]):
            cell = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            found |= {cell + "W_0": (2 * width, 4 * cells), cell + "B": (4 * cells,), cell + "W_P_0": (cells, width)}
    return found


def read_options(path: Path) -> dict:
    """Return an options.json whose model can be built; what is missing or does not fit is named."""
    if not path.is_file():
        raise UserError(f"{path} is not there; `make MODEL=elmo fetch` brings the original's options")
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        cnn, lstm = options["char_cnn"], options["lstm"]
        sizes = [cnn["embedding"]["dim"], cnn["n_highway"], lstm["dim"], lstm["projection_dim"], lstm["n_layers"],
                 *(number for width_and_count in cnn["filters"] for number in width_and_count)]
        widest = max(width for width, _ in cnn["filters"])
        clips = [lstm["cell_clip"], lstm["proj_clip"]]
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]}; expected AllenNLP's options of a bidirectional language model") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds no options of AllenNLP's bidirectional language model: {error}") from None
    for found, holds in {
        f"sizes {sizes}": all(type(size) is int and size > 0 for size in sizes),
        f"clips {clips}": all(clip is None or (isinstance(clip, int | float) and clip >= 0) for clip in clips),
        f"activation {cnn.get('activation')!r}, expected relu or tanh": cnn.get("activation") in ("relu", "tanh"),
        f"{cnn.get('n_characters')} characters, expected {characters.IDS}": cnn.get("n_characters") == characters.IDS,
        f"{cnn.get('max_characters_per_token')} characters a word, expected {characters.CHARACTERS}":
            cnn.get("max_characters_per_token") == characters.CHARACTERS,
        f"a filter {widest} characters wide": widest <= characters.CHARACTERS,
        "no skip connections, without which the network is another": bool(lstm.get("use_skip_connections")),
    }.items():
        if not holds:
            raise UserError(f"{path} does not fit: it has {found}")
    return options


def read_weights(path: Path, options: dict) -> dict[str, np.ndarray]:
    """Return the weights file's data sets, float32, by name; one that is missing, misshapen or not finite is named."""
    files.looked_at(path)
    if not path.is_file():
        raise UserError(f"{path} is not there; give --weight_file, or --random_weights")
    try:
        with h5py.File(path, "r") as file:
            return {name: data_set(path, file, name, shape) for name, shape in shapes(options).items()}
    except OSError as error:
        raise UserError(f"{path} is no whole HDF5 file: {str(error).splitlines()[0]}") from None


def data_set(path: Path, file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise UserError(f"{path} has no data set {name}; expected AllenNLP's weights, {list(shape)}")
    if found.shape != shape or found.dtype.kind != "f":
        raise UserError(f"{path}: {name} is {found.dtype}{list(found.shape)}, the options ask for float{list(shape)}")
    array = found[...].astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{path}: {name} holds values that are not finite")
    return array


# Standard deviations of random weights times the root of the inputs' number. With these, words lie far apart, cells and
# outputs reach their clips now and then, and a difference dies out over the steps instead of growing.
INPUT_GAIN, OUTPUT_GAIN, PROJECTION_GAIN = 1.5, 0.4, 3.0


def random_weights(options: dict, seed: int, encode: Callable[[dict[str, np.ndarray]], np.ndarray]) -> dict[str,
                                                                                                            np.ndarray]:
    """Return seeded random weights for options, whose words' vectors are centred and of standard deviation 1.

    encode  weights -> the vectors of a fair sample of words, float32 [M, P]; they are centred and scaled on these
    """
    rng = np.random.default_rng(seed)
    width = options["lstm"]["projection_dim"]
    weights = {}
    for name, shape in shapes(options).items():
        fan_in = int(np.prod(shape[:-1]))
        weights[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(1 / np.sqrt(fan_in) if len(shape) > 1
                                                                                  else 0.1)
        if name == "char_embed":
            weights[name] *= np.sqrt(fan_in, dtype=np.float32)
        if name.endswith("W_0"):
            weights[name][:width] *= np.float32(INPUT_GAIN * np.sqrt(2))
            weights[name][width:] *= np.float32(OUTPUT_GAIN * np.sqrt(2))
        if name.endswith("W_P_0"):
            weights[name] *= np.float32(PROJECTION_GAIN)
    vectors = encode(weights)
    scale = 1 / vectors.std(0).mean()
    weights["CNN_proj/W_proj"] *= scale
    weights["CNN_proj/b_proj"] = (weights["CNN_proj/b_proj"] - vectors.mean(0)) * scale
    return weights


def write(folder: Path, options: dict, weights: dict[str, np.ndarray]) -> Path:
    """Write options.json and weights.hdf5 as AllenNLP reads them; return the latter's path. The same weights, the same bytes."""
    files.write_json(folder / "options.json", options)
    path = folder / "weights.hdf5"
    with files.aside(path) as new, h5py.File(new, "w") as file:
        for name, array in weights.items():
            file.create_dataset(name, data=array, track_times=False)
    return path
