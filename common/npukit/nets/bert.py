"""BERT from a Hugging Face directory: loaded, run and exported the same way for every task."""
import argparse
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers

from npukit.corpus.batches import by_length, fill
from npukit.corpus.gears import gear_of
from npukit.corpus.store import Samples
from npukit.errors import UserError
from npukit.files import looked_at
from npukit.graph.proof import session_of
from npukit.judge import ledger
from npukit.nets import random_weights

OPSET = 13
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
BATCH = 32  # samples at a time through a reference


def options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the command line of a pth2onnx.py: its own flags, and those that every BERT's takes."""
    parser.add_argument("--inputs", type=Path, help="preprocess.py's output, to prove the export on")
    parser.add_argument("--random_weights", action="store_true", help="seeded random weights; of the model only config.json is read")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--kind", default="own", help="what the weights are called in the report")
    args = parser.parse_args()
    if args.random_weights and not args.inputs:
        raise UserError("--random_weights needs --inputs: the head is spread over the classes of real samples")
    return args


def load(task: str, folder: Path, labels: int, seed: int | None = None, config_file: Path | None = None) -> torch.nn.Module:
    """Return BertFor<task> in fp32 for inference, eager attention.

    folder       model.safetensors or pytorch_model.bin and config.json; or either file of weights itself. The parameters'
                 names may begin with `module.`, as DataParallel leaves them
    labels       that the task has
    seed         of random weights: then config.json is enough
    config_file  where config.json lies elsewhere
    raises       UserError for a folder without them, another number of labels, or weights that miss or misshape a parameter
    """
    transformers.logging.set_verbosity_error()  # what it reports about weights is said here, in one sentence
    transformers.logging.disable_progress_bar()
    kind = getattr(transformers, f"BertFor{task}")
    config = read_config(config_file or folder)
    weights = weights_file(folder) if seed is None else None
    try:
        if seed is not None:
            torch.manual_seed(seed)
            config = transformers.BertConfig(**{**config, "num_labels": labels, "initializer_range": random_range(task, config)})
            return kind._from_config(config, attn_implementation="eager").eval()
        net, info = kind.from_pretrained(
            weights.parent, config=transformers.BertConfig.from_dict(config), use_safetensors=weights.suffix == ".safetensors",
            key_mapping={r"^module\.": ""}, local_files_only=True, attn_implementation="eager", dtype=torch.float32,
            output_loading_info=True, weights_only=True, ignore_mismatched_sizes=True)
    except pickle.UnpicklingError:  # its text tells how to run the code nevertheless
        raise UserError(f"{weights} is no file of weights, or holds more than tensors; it is not read") from None
    except Exception as error:  # safetensors, torch and transformers each have their own
        raise UserError(f"{folder} does not hold a BertFor{task}: {' '.join(str(error).split())[:300]}") from None
    if net.config.num_labels != labels:
        raise UserError(f"{config_place(config_file or folder)} has {net.config.num_labels} labels, the task has {labels}")
    wrong = [f"{name} is missing" for name in sorted(info["missing_keys"])]
    wrong += [f"{name} is {list(found)}, config.json makes it {list(expected)}"
              for name, found, expected in sorted(info["mismatched_keys"])]
    if wrong:
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise UserError(f"{folder} does not hold weights of BertFor{task}: {wrong[0]}{more}")
    return net.eval()


def random_range(task: str, config: dict) -> float:
    """Return the standard deviation of random weights that keeps answers apart.

    One answer a sample needs 0.1: at BERT's own 0.02 all samples look alike. An answer a token needs BERT's own, in
    proportion to the width: beyond it all tokens of a sample come to look alike, layer by layer.
    """
    return 0.1 if task == "SequenceClassification" else 0.02 * (768 / config.get("hidden_size", 768)) ** 0.5


def config_place(path: Path) -> Path:
    """Return the config.json of a folder, of a file of weights in it, or itself."""
    if path.name in WEIGHTS:
        path = path.parent
    return path if path.suffix == ".json" else path / "config.json"


def read_config(path: Path) -> dict:
    """Return the config.json, see config_place, of a Hugging Face directory that holds a BERT."""
    place = config_place(path)
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{place.parent} has no {place.name}; a Hugging Face directory is expected") from None
    except ValueError as error:
        raise UserError(f"{place} is not JSON: {error}") from None
    whole = isinstance(config, dict) and isinstance(config.get("vocab_size"), int)
    if not whole or config.get("model_type", "bert") != "bert":
        raise UserError(f"{place} is not a BERT's; expected model_type bert and a vocab_size")
    return config


def weights_file(folder: Path) -> Path:
    """Return the file of the weights in a Hugging Face directory; where that file is given, itself."""
    for name in WEIGHTS:
        place = folder if folder.name == name else folder / name
        looked_at(place)
        if place.is_file():
            return place
    raise UserError(f"{folder} holds neither {' nor '.join(WEIGHTS)}")


def check_vocabulary(folder: Path, pieces: int) -> None:
    """Raise UserError where the weights have another number of word pieces than the tokenizer of the inputs."""
    rows = read_config(folder)["vocab_size"]
    if rows != pieces:
        raise UserError(f"{folder} has embeddings for {rows} word pieces, the tokenizer of the inputs has {pieces}; "
                        "they belong to different models")


def run_batches(run: Callable[[dict], np.ndarray], samples: Samples, size: int | None = None,
                seq_lens: list[int] | None = None) -> np.ndarray:
    """Return run()'s answers [samples, ...] in the order of the samples, run in batches of similar lengths.

    run       {name: int64 [N, L]} -> float32 [N, ...], with a third axis where there is an answer a token: it is 0 after
              each sample's own tokens
    size      N, where the graph takes no other; the last batch is then filled with copies of its first sample
    seq_lens  the L that the graph takes, where it takes no others: a batch has the shortest that holds it
    """
    answers, lengths = None, samples.lengths
    for rows in by_length(lengths, size or BATCH):
        longest = lengths[rows].max()
        length = seq_lens[gear_of([longest], seq_lens)[0]] if seq_lens else longest
        made = run(samples.padded(fill(rows, size or len(rows)), length))[:len(rows)]
        if answers is None:
            answers = np.zeros((len(lengths), *((lengths.max(), *made.shape[2:]) if made.ndim > 2 else made.shape[1:])), made.dtype)
        if made.ndim > 2:
            inside = np.arange(longest) < lengths[rows][:, None]
            answers[rows, :longest] = np.where(inside[..., None], made[:, :longest], 0)
        else:
            answers[rows] = made
    return answers


def logits(net: torch.nn.Module, samples: Samples) -> np.ndarray:
    """Return PyTorch's logits [samples, ...]; start and end logits as [samples, L, 2]."""
    def run(feeds: dict) -> np.ndarray:
        made = net(**{name: torch.from_numpy(feed) for name, feed in feeds.items()})
        return made.logits.numpy() if "logits" in made else torch.stack([made.start_logits, made.end_logits], -1).numpy()

    with torch.inference_mode():
        return run_batches(run, samples)


def graph_logits(path: Path, samples: Samples, size: int | None = None, seq_lens: list[int] | None = None) -> np.ndarray:
    """Return a graph's logits [samples, ...] on ONNX Runtime, in the form of logits(); size and seq_lens as in run_batches."""
    session = session_of(path)

    def run(feeds: dict) -> np.ndarray:
        made = session.run(None, feeds)
        return made[0] if len(made) == 1 else np.stack(made, -1)

    return run_batches(run, samples, size, seq_lens)


def prove_export(net: torch.nn.Module, path: Path, samples: Samples, task: ledger.Task) -> None:
    """Compare the graph with PyTorch on all samples; write reference.npy and ledger.json beside it; fail if anything was lost."""
    ledger.begin(path.parent, task, logits(net, samples), graph_logits(path, samples))


def write_weights(net: torch.nn.Module, args: argparse.Namespace, checkpoint: Path, graph: Path) -> None:
    """Write weights.json beside the graph: of the checkpoint, or of weights/, where a pth2onnx.py saves its random ones."""
    used = weights_file(graph.parent / "weights" if args.random_weights else checkpoint)
    ledger.write_weights(graph.parent, args.kind, used, net.num_parameters())


def spread_head(head: torch.nn.Linear, answers: np.ndarray) -> None:
    """Centre and scale a random head on the logits [M, T] that it gave, so that its answers mean something."""
    weight, bias = random_weights.spread(answers, head.weight.numpy(force=True), head.bias.numpy(force=True))
    head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})


class Positional(torch.nn.Module):
    """The network with its inputs by position, in graph order, and its logits alone as output."""

    def __init__(self, net: torch.nn.Module, inputs: list[str], outputs: list[str]):
        super().__init__()
        self.net, self.inputs, self.outputs = net, inputs, outputs

    def forward(self, *tensors: torch.Tensor):
        made = self.net(**dict(zip(self.inputs, tensors)), return_dict=True)
        return tuple(made[name] for name in self.outputs) if len(self.outputs) > 1 else made.logits


def export(net: torch.nn.Module, inputs: list[str], outputs: dict[str, dict[int, str]], path: Path) -> None:
    """Write the graph at opset 13, one domain; inputs int64 [N, L] in this order.

    outputs  name -> {axis: N or L}; several names are the network's own (start_logits, end_logits), one is its logits
    """
    example = torch.ones(2, 8, dtype=torch.int64)
    example[1, 5:] = 0
    axes = {**{name: {0: "N", 1: "L"} for name in inputs}, **outputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is the old one; what it makes is compared afterwards
        # eval() on the outermost module: the exporter restores its mode, and with it everybody's dropout
        torch.onnx.export(Positional(net, inputs, list(outputs)).eval(), tuple(example for _ in inputs), path, input_names=inputs,
                          output_names=list(outputs), dynamic_axes=axes, opset_version=OPSET, dynamo=False)
    onnx.checker.check_model(str(path), full_check=True)
