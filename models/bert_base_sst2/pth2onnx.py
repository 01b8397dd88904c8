#!/usr/bin/env python3
"""Export BERT for sequence classification to ONNX, with any batch size and length, and prove it on the real samples.

README, "Inference", step 1.2.

Reads   --model_dir   a Hugging Face directory: config.json with model.safetensors or pytorch_model.bin (weights only);
                      with --random_weights its config.json alone
        --inputs      preprocess.py's folder; with it the export is compared with PyTorch on those samples
Writes  --save_path           the graph: input_ids, attention_mask int64 [N, L] -> output float32 [N, 2]
        with --inputs also    reference.npy, PyTorch's logits float32 [samples, 2]; ledger.json, what each form of the
                              network scores and how close it is; weights.json, their kind and digest
Source  ModelZoo-PyTorch ad818b5, ACL_PyTorch/built-in/nlp/Bert_Base_Cased_SST2/pth2onnx.py
"""
import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import sst2
from npukit import bert, command, fidelity, files, ragged, random_weights
from npukit.errors import JobFailed, UserError


def main() -> None:
    args = options()
    inputs = ragged.read(args.inputs) if args.inputs else None
    if inputs:
        bert.check_vocabulary(args.model_dir, inputs[0]["corpus"]["vocabulary"])
    net = bert.load("SequenceClassification", args.model_dir, labels=2, seed=args.seed if args.random_weights else None)
    if args.random_weights:
        spread_head(net, inputs)
        net.save_pretrained(args.save_path.parent / "weights")
    bert.export(net, ["input_ids", "attention_mask"], {"output": {0: "N"}}, args.save_path)
    if inputs:
        prove(net, inputs, sst2.read_labels(args.inputs / "labels.json"), args.save_path)
        used = args.save_path.parent / "weights" if args.random_weights else args.model_dir
        files.write_json(args.save_path.with_name("weights.json"), {"kind": args.kind, "sha256": files.sha256(bert.weights_file(used))})


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--model_dir", type=Path, required=True)
    parser.add_argument("--save_path", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's output, to prove the export on")
    parser.add_argument("--random_weights", action="store_true", help="seeded random weights for model_dir's config.json")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--kind", default="own", help="what the weights are called in the report")
    args = parser.parse_args()
    if args.random_weights and not args.inputs:
        raise UserError("--random_weights needs --inputs: the head is spread over the classes of real samples")
    return args


def spread_head(net: torch.nn.Module, inputs: tuple) -> None:
    """Centre and scale the random head on the samples, so that its answers mean something."""
    head = net.classifier
    weight, bias = random_weights.spread(bert.logits(net, *inputs[1:]), head.weight.numpy(force=True), head.bias.numpy(force=True))
    head.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})


def prove(net: torch.nn.Module, inputs: tuple, labels: np.ndarray, path: Path) -> None:
    """Compare the graph with PyTorch on all samples; write reference.npy and ledger.json; fail if the export lost anything."""
    _, arrays, lengths = inputs
    reference = bert.logits(net, arrays, lengths)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exported = bert.run_batches(lambda feeds: session.run(None, feeds)[0], arrays, lengths)
    closeness = fidelity.compare(exported, reference, np.arange(len(labels)), "PyTorch fp32")
    np.save(path.with_name("reference.npy"), reference)
    files.write_json(path.with_name("ledger.json"), [
        {"stage": "torch", "metrics": {"accuracy": sst2.accuracy(reference, labels)}, "fidelity": None},
        {"stage": "onnx", "metrics": {"accuracy": sst2.accuracy(exported, labels)}, "fidelity": closeness}])
    lost = [gate for gate in fidelity.gates(closeness, "fp32") if not gate["passes"]]
    if lost:
        raise JobFailed(f"the export is not the network: {lost[0]['name']} is {lost[0]['value']}, allowed {lost[0]['limit']} "
                        f"(worst sample {closeness['worst_sample']})")


if __name__ == "__main__":
    command.run(main)
