"""allennlp's own ELMo, for comparison: run by the Python that has it (`make -C models/elmo oracle`), never imported here.

    export   Elmo as one ONNX graph, as the original exports it
    answers  what Elmo and _ElmoBiLm give for batches of ids
    spell    batch_to_ids of sentences
    time     Elmo's words a second
"""
import argparse
import json
import time
import warnings

warnings.filterwarnings("ignore")  # of packages that allennlp 2.10.1 is older than

import numpy as np  # noqa: E402
import torch  # noqa: E402
from allennlp.modules.elmo import Elmo, batch_to_ids  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=VERBS)
    for flag in ("option_file", "weight_file", "output_file", "input_file"):
        parser.add_argument(f"--{flag}")
    parser.add_argument("--word_len", type=int)
    parser.add_argument("--batch_sizes", default="1,4,8,16,32,64")
    args = parser.parse_args()
    with torch.no_grad():
        VERBS[args.what](args)


def load(args: argparse.Namespace) -> Elmo:
    return Elmo(args.option_file, args.weight_file, 1, dropout=0).eval()


class ChunkAsSplit(TorchFunctionMode):
    """Do what torch.chunk does by torch.split, whoever calls it: opset 11 has no chunk. Counts what it replaced.

    And what squeeze(dim) does by reshape: today's exporter, which has lost the shape where allennlp packs sequences, would
    write an If whose branches onnxsim does not take.
    """

    replaced = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.chunk, torch.Tensor.chunk):
            tensor, chunks, dim = (lambda input, chunks, dim=0: (input, chunks, dim))(*args, **(kwargs or {}))
            self.replaced += 1
            return torch.split(tensor, -(-int(tensor.shape[dim]) // int(chunks)), dim)
        if func is torch.Tensor.squeeze and len(args) == 2 and int(args[0].shape[args[1]]) == 1:
            shape = [int(size) for size in args[0].shape]
            del shape[args[1]]
            return args[0].reshape(shape)
        return func(*args, **(kwargs or {}))


class Representation(torch.nn.Module):
    """Elmo's one representation, without the mask beside it."""

    def __init__(self, elmo: Elmo):
        super().__init__()
        self.elmo = elmo

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.elmo(ids)["elmo_representations"][0]


def export(args: argparse.Namespace) -> None:
    """Write --output_file: input int32 [1, word_len, 50] -> output float32 [1, word_len, 1024], opset 11."""
    dummy = torch.randint(1, 10, (1, args.word_len, 50), dtype=torch.int32)
    with ChunkAsSplit() as mode:
        torch.onnx.export(Representation(load(args)), (dummy,), args.output_file, input_names=["input"],
                          output_names=["output"],
                          opset_version=11, dynamo=False)
    if not mode.replaced:
        raise SystemExit("this allennlp calls no torch.chunk; what the original replaces is not there")


def answers(args: argparse.Namespace) -> None:
    """Read arrays of ids from an .npz; write each one's representation, and its layers' activations with <S> and </S>."""
    elmo, found = load(args), {}
    with np.load(args.input_file) as batches:
        for name, ids in batches.items():
            ids = torch.from_numpy(ids)
            elmo._elmo_lstm._elmo_lstm.reset_states()
            found[name] = elmo(ids)["elmo_representations"][0].numpy()
            elmo._elmo_lstm._elmo_lstm.reset_states()
            found[f"{name}_layers"] = torch.stack(elmo._elmo_lstm(ids)["activations"]).numpy()
    np.savez(args.output_file, **found)


def spell(args: argparse.Namespace) -> None:
    """Read batches of sentences of words from JSON; write their ids to an .npz, in order."""
    with open(args.input_file, encoding="utf-8") as file:
        batches = json.load(file)
    np.savez(args.output_file, *[batch_to_ids(batch).numpy() for batch in batches])


def measure(args: argparse.Namespace) -> None:
    """Read an .npz of ids [words, 50] and lengths; print the seconds that all sentences take, by batch size, as JSON.

    Batches are of like lengths, which spares allennlp the padding, and each begins with a fresh state. --output_file gets
    every word's vector, float32 [words, W], in the order of the ids.
    """
    elmo = load(args)
    with np.load(args.input_file) as arrays:
        ids, lengths = arrays["ids"], arrays["lengths"]
    sentences, starts = np.split(ids, np.cumsum(lengths)[:-1]), np.cumsum(lengths) - lengths
    order, seconds = np.argsort(lengths, kind="stable"), {}
    for size in map(int, args.batch_sizes.split(",")):
        batches = [order[begin:begin + size] for begin in range(0, len(order), size)]
        padded = [torch.nn.utils.rnn.pad_sequence([torch.from_numpy(sentences[row]) for row in rows], batch_first=True)
                  for rows in batches]
        elmo(padded[0])
        began, found = time.perf_counter(), []
        for batch in padded:
            elmo._elmo_lstm._elmo_lstm.reset_states()
            found.append(elmo(batch)["elmo_representations"][0])
        seconds[size] = time.perf_counter() - began
    vectors = np.empty((len(ids), found[0].shape[2]), np.float32)
    for rows, batch in zip(batches, found):
        for row, answer in zip(rows, batch):
            vectors[starts[row]:starts[row] + lengths[row]] = answer[:lengths[row]]
    np.save(args.output_file, vectors)
    print(json.dumps(seconds))


VERBS = {"export": export, "answers": answers, "spell": spell, "time": measure}

if __name__ == "__main__":
    main()
