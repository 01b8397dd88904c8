"""weights.txt -> toy.onnx: numbers float32 [bs, 4] -> logits float32 [bs, 3]; reference.npy, ledger.json, weights.json."""
from pathlib import Path

import numpy as np
import onnx
import toy
from onnx import TensorProto, helper, numpy_helper

from npukit import command, files
from npukit.corpus import store
from npukit.judge import ledger


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    weights = np.loadtxt(args.checkpoint, dtype=np.float32)
    onnx.save(graph(weights), args.output)
    toy.linger("pth2onnx")
    _, samples = store.read(args.inputs)
    logits = toy.network(samples.flat["numbers"].reshape(-1, 4), weights)
    accuracy = float((logits.argmax(1) == np.loadtxt(args.inputs / "labels.txt")).mean())
    np.save("reference.npy", logits)
    files.write_json(Path("ledger.json"), [{"stage": "torch", "metrics": {"accuracy": accuracy}, "fidelity": None}])
    ledger.write_weights(Path(), "shipped", args.checkpoint, weights.size)


def graph(weights: np.ndarray) -> onnx.ModelProto:
    """Return the network as ONNX, with any batch size."""
    floats = TensorProto.FLOAT
    body = helper.make_graph([helper.make_node("MatMul", ["numbers", "weights"], ["logits"])], "toy",
                             [helper.make_tensor_value_info("numbers", floats, ["bs", 4])],
                             [helper.make_tensor_value_info("logits", floats, ["bs", 3])],
                             [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


if __name__ == "__main__":
    command.run(main)
