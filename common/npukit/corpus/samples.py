"""Sample files and their manifest: what preprocess writes, the inference tools read, and postprocess reads back."""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npukit.errors import UserError
from npukit.files import read_json, write_json

UNKNOWN = 0.05  # of a text; a wrong vocabulary, or one of another case or language, lacks far more


class SampleWriter:
    """Writes one file a sample and input, numbered as the originals do, and a manifest of them all.

        samples = SampleWriter(folder, {"ids": Input("inputs/input_ids", "int64", (50,))})
        samples.add(ids=ids)      # inputs/input_ids/data_00000000.npy
        samples.finish(corpus)    # manifest.json, last of all

    A wrong dtype or shape is refused with the sample's number, so nobody downstream has to look.
    """

    def __init__(self, folder: Path, inputs: dict[str, "Input"]):
        self.folder, self.inputs, self.count = folder, inputs, 0
        for spec in inputs.values():
            (folder / spec.directory).mkdir(parents=True, exist_ok=True)
            for old in (folder / spec.directory).glob("data_*.npy"):  # of a longer corpus, were it left, nobody would know
                old.unlink()

    def add(self, **arrays: np.ndarray) -> None:
        """Write one sample: an array for each input, of the dtype and shape that were declared."""
        for name, spec in self.inputs.items():
            array = arrays[name]
            if array.dtype != spec.dtype or array.shape != spec.shape:
                raise ValueError(f"sample {self.count}, {name}: {array.dtype}{list(array.shape)} "
                                 f"where {spec.dtype}{list(spec.shape)} was declared")
            np.save(self.folder / spec.directory / f"data_{self.count:08d}.npy", array)
        self.count += 1

    def finish(self, corpus: dict) -> None:
        """Write manifest.json: how many samples, what each input is, and the corpus they come from."""
        inputs = {name: {"directory": i.directory, "dtype": i.dtype, "shape": list(i.shape)} for name, i in self.inputs.items()}
        write_json(self.folder / "manifest.json", {"samples": self.count, "inputs": inputs, "corpus": corpus})


def much_unknown(corpus: dict) -> str | None:
    """Return a warning, one sentence, where the vocabulary lacks more than 5 % of a manifest's corpus; else None."""
    share = corpus.get("unknown_share", 0)
    if share <= UNKNOWN:
        return None
    return (f"{share:.1%} of the text is unknown to the vocabulary ([UNK]), more than {UNKNOWN:.0%}; answers may mean "
            "little: are tokenizer, weights and text made for each other?")


def warn_of_unknown(corpus: dict) -> None:
    """Print that warning on stderr, where there is one."""
    if warning := much_unknown(corpus):
        print(f"warning: {warning}", file=sys.stderr)


@dataclass(frozen=True)
class Input:
    """One input of the graph: where its files lie, and the dtype and shape of each sample."""

    directory: str
    dtype: str
    shape: tuple[int, ...]


def read_inputs(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Return (manifest, {name: array [samples, ...]}) of a folder that a SampleWriter filled, in graph order."""
    manifest = read_json(folder / "manifest.json")
    arrays = {}
    for name, spec in manifest["inputs"].items():
        array = np.empty((manifest["samples"], *spec["shape"]), dtype=spec["dtype"])
        for number in range(len(array)):
            array[number] = load(folder / spec["directory"] / f"data_{number:08d}.npy")
        arrays[name] = array
    return manifest, arrays


def read_outputs(folder: Path, samples: int, index: int = 0) -> np.ndarray:
    """Return output `index` of every sample, [samples, ...], as ais_bench wrote them (data_00000000_0.npy ...).

    The tool cuts each batch into files that keep a batch axis of one; it is dropped here.
    raises  UserError where a sample is missing, there are more than there should be, or one has another shape
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not there; run the infer stage first")
    there = {path.name for path in folder.glob(f"*_{index}.npy")}
    wanted = [f"data_{number:08d}_{index}.npy" for number in range(samples)]
    missing, extra = sorted(set(wanted) - there), sorted(there - set(wanted))
    if missing or extra:
        names = ", ".join((missing or extra)[:3])
        raise UserError(f"{folder} does not hold the outputs of these {samples} samples: {len(missing)} missing, "
                        f"{len(extra)} too many ({names}); run the infer stage again")
    first = load(folder / wanted[0])
    expected = (1, *first.shape[1:])
    outputs = np.empty((samples, *first.shape[1:]), dtype=first.dtype)
    for number, name in enumerate(wanted):
        output = load(folder / name)
        if output.shape != expected:
            raise UserError(f"{folder / name} is {list(output.shape)}, expected {list(expected)}; run the infer stage again")
        outputs[number] = output[0]
    return outputs


def load(path: Path) -> np.ndarray:
    """Return the array of a .npy file; one that is missing or cut short is named."""
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        what = str(error).splitlines()[0]
        raise UserError(f"{path} is not a whole .npy file ({what}); run the stage that writes it again") from None
