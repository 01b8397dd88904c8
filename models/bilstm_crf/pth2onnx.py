#!/usr/bin/env python3
"""Export the network to ONNX, with any batch size, and prove the export on the real samples.

README, "Convert the model", step 1. The CRF stays outside, as in the original: its transitions go into a file of
their own, which postprocess reads.

Reads   --checkpoint  weights.safetensors, or the original's best-model.bin, or the word random (seeded)
        --inputs      preprocess.py's folder; with it the export is compared with PyTorch on those samples
Writes  --output              the graph: ids, mask int64 [bs, max_seq_len] -> features float32 [bs, max_seq_len, 33]
        transitions.npy       float32 [33, 33], [to, from], beside it
        with --inputs also    reference.npy, PyTorch's features float32 [samples, max_seq_len, 33]; ledger.json, what
                              each form of the network scores and how close it is; weights.json, their kind, digest and number
Source  ModelZoo-PyTorch b073b44, ACL_PyTorch/built-in/nlp/BiLSTM_CRF_PyTorch/bilstm_pth2onnx.py
"""
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file, save_file

import crf_decode
from bilstm_crf import BiLstmCrf, ExportForm
from npukit import command
from npukit.corpus import store
from npukit.errors import UserError
from npukit.files import looked_at
from npukit.judge import ledger
from npukit.nets import random_weights

OPSET = 13
SHIPPED = Path(__file__).resolve().with_name("weights") / "weights.safetensors"
BATCH = 64  # sentences at a time through PyTorch


def main() -> None:
    args = options()
    if args.checkpoint == Path("random"):
        net = random_net(args)
    else:
        net = load(args.checkpoint)
    folder = args.output.parent
    export(net, args.max_seq_len, args.output)
    np.save(folder / "transitions.npy", net.crf.transitions.numpy(force=True))
    if args.inputs:
        prove(net, args.inputs, args.max_seq_len, args.output)
        used = folder / "weights.safetensors" if args.checkpoint == Path("random") else args.checkpoint
        kind = "random" if args.checkpoint == Path("random") else "shipped" if used.resolve() == SHIPPED else "own"
        ledger.write_weights(folder, kind, used, sum(each.numel() for each in net.parameters()))


def options():
    parser = command.parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--max_seq_len", type=int, default=50)
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's output, to prove the export on")
    parser.add_argument("--seed", type=int, default=1234, help="of random weights")
    args = parser.parse_args()
    if args.checkpoint == Path("random") and not args.inputs:
        raise UserError("--checkpoint random needs --inputs: the head is spread over the classes of real samples")
    return args


def load(path: Path) -> BiLstmCrf:
    """Return the network with the weights of a safetensors file or of the original's checkpoint."""
    looked_at(path)
    if not path.is_file():
        raise UserError(f"{path} is not there; expected weights.safetensors or the original's best-model.bin")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    except Exception as error:  # each of the two libraries has a family of its own for files it cannot read
        what = str(error).split("\n")[0].split(". ")[0]  # what follows in torch's is how to open it all the same
        raise UserError(f"{path} is no checkpoint of this model: {type(error).__name__} {what}".strip()) from None
    try:
        state = {name: value.float() for name, value in state.items()}
        (rows, embedding), (_, states) = state["embedding.weight"].shape, state["classifier.weight"].shape
        net = BiLstmCrf(rows, embedding, hidden=states // 2)
        net.load_state_dict(state)
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]}; it holds {', '.join(sorted(state)[:4]) or 'nothing'}") from None
    except (RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not fit the network: {' '.join(str(error).split())}") from None
    return net.eval()


def random_net(args) -> BiLstmCrf:
    """Return the full-size network with seeded weights, its head spread over the classes of the samples."""
    torch.manual_seed(args.seed)
    manifest, samples = store.read(args.inputs)
    net = BiLstmCrf(manifest["corpus"]["vocabulary"]).eval()
    logits = store.unpad(reference(net, samples, manifest["plan"]["lengths"][0]), samples.lengths)
    weight, bias = random_weights.spread(logits, net.classifier.weight.numpy(force=True), net.classifier.bias.numpy(force=True))
    net.classifier.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    save_file(net.state_dict(), args.output.with_name("weights.safetensors"))
    return net


def export(net: BiLstmCrf, max_seq_len: int, path: Path) -> None:
    """Write the graph; one opset domain, any batch size."""
    example = torch.ones(2, max_seq_len, dtype=torch.int64)
    axes = {name: {0: "bs"} for name in ("ids", "mask", "features")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation of this exporter, LSTM with a variable batch: compared below
        torch.onnx.export(ExportForm(net).eval(), (example, example), path, input_names=["ids", "mask"],
                          output_names=["features"], dynamic_axes=axes, opset_version=OPSET, dynamo=False)
    onnx.checker.check_model(str(path), full_check=True)


def prove(net: BiLstmCrf, folder: Path, max_seq_len: int, path: Path) -> None:
    """Compare the graph with PyTorch on all samples; write reference.npy and ledger.json; fail if the export lost anything."""
    manifest, samples = store.read(folder)
    if (characters := manifest["corpus"]["vocabulary"]) != (rows := net.embedding.num_embeddings):
        raise UserError(f"the inputs were made with a vocabulary of {characters}, the weights have {rows} characters; "
                        "preprocess with the vocabulary that belongs to the weights")
    if (lengths := manifest["plan"]["lengths"]) != [max_seq_len]:
        raise UserError(f"the inputs in {folder} are {lengths[-1]} long, the graph takes {max_seq_len}; "
                        "give preprocess and pth2onnx the same --max_seq_len")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exported = np.concatenate([session.run(None, feeds)[0] for feeds in batches(samples, max_seq_len)])
    task = crf_decode.task(crf_decode.read_labels(folder / "label.txt"), samples.lengths, net.crf.transitions.numpy(force=True))
    ledger.begin(path.parent, task, reference(net, samples, max_seq_len), exported)


def reference(net: BiLstmCrf, samples: store.Samples, length: int) -> np.ndarray:
    """Return PyTorch's features, float32 [samples, length, T]."""
    with torch.inference_mode():
        return torch.cat([net(*(torch.from_numpy(feed) for feed in feeds.values())) for feeds in batches(samples, length)]).numpy()


def batches(samples: store.Samples, length: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield ids and mask, int64 [N, length], of all samples in their order."""
    for begin in range(0, len(samples), BATCH):
        yield samples.padded(np.arange(begin, min(begin + BATCH, len(samples))), length)


if __name__ == "__main__":
    command.run(main)
