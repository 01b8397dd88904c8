"""The chip's arithmetic: after every operator each float32 tensor holds what half precision can hold.

The graph stays float32 for ONNX Runtime, and Cast(float16), Cast(float) after an operator round its result: to nearest
even, beyond 65504 to infinity, subnormals kept. Weights are rounded once, here. Inputs and outputs of the model keep
their data types. What differs from the chip, as far as known:

* one ONNX operator is one rounding; the chip fuses operators and may round less often.
* MatMul, Gemm and Conv add up in float32 and round the sum, as the chip's cube unit does; reductions and Softmax also
  compute in float32 inside.
* LSTM, GRU and RNN have float16 weights, inputs and outputs, and float32 inside: one step's state is not rounded.
* mixed precision is an assumption: the operators in CUBE are float16, all others (Softmax, LayerNorm's parts,
  reductions, additions) float32. The chip decides operator by operator from lists that are not public.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)  # 65504
CUBE = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "LSTM", "GRU", "RNN"})
# These only choose among values that are rounded already, so their results need no rounding.
SELECTS = frozenset({
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Concat", "Gather",
    "GatherElements", "GatherND", "Expand", "Tile", "Where", "Max", "Min", "MaxPool", "Relu", "Neg", "Abs", "TopK",
    "ScatterND", "ScatterElements", "DepthToSpace", "SpaceToDepth", "Compress", "Trilu", "ReverseSequence", "Pad"})
SMALL = 1024  # elements; larger weights have no say in the types of other tensors


def session_options_for(precision: str):
    """Return the onnxruntime.SessionOptions for an om of this precision.

    They are the defaults: ONNX Runtime removes pairs of Casts only where nothing is lost, and its fusions need the
    operators side by side, which a pair of Casts between them prevents (test_fp16.py compares the levels).
    """
    import onnxruntime

    return onnxruntime.SessionOptions()


def convert(model: onnx.ModelProto, is_fp16: Callable[[onnx.NodeProto], bool], clip_weights: bool = False,
            wide_results: bool = False) -> None:
    """Rewrite the graph in place so that the nodes which `is_fp16` names compute in half precision.

    clip_weights  weights beyond 65504 become 65504 instead of infinity
    wide_results  results stay float32, only what goes in is rounded (cube_fp16in_fp32out)
    """
    types = tensor_types(model)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    Rounding(model.graph, floats, is_fp16, clip_weights, wide_results).run()


def hoist_constants(graph: onnx.GraphProto) -> None:
    """Turn the float32 tensors of Constant nodes into weights, in place: they are rounded, or clipped, as those."""
    constants = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"
                 and node.attribute[0].t.data_type == TensorProto.FLOAT]
    for node in constants:
        graph.initializer.append(node.attribute[0].t)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the ONNX element type of every tensor, those inside branches included.

    The inference sees large weights as inputs, so that a model of any size passes through it.
    """
    skeleton = onnx.ModelProto()
    skeleton.ir_version = model.ir_version
    skeleton.opset_import.extend(model.opset_import)
    graph = skeleton.graph
    graph.name = "types"
    graph.node.extend(model.graph.node)
    weights = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in weights)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    collect_types(onnx.shape_inference.infer_shapes(skeleton).graph, types)
    return types


def collect_types(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    """Add the types of the tensors of a graph and of its branches to `types`."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        types[tensor.name] = tensor.data_type
    for node in graph.node:
        for branch in branches(node):
            collect_types(branch, types)


def branches(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs inside a node: If has two."""
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


@dataclass
class Rounding:
    """The rewriting of one graph.

    floats   names of all float32 tensors
    rounded  names of those that hold only what half precision can hold
    halves   float32 tensor -> its rounded copy, for tensors that nodes of both kinds read
    """

    graph: onnx.GraphProto
    floats: set[str]
    is_fp16: Callable[[onnx.NodeProto], bool]
    clip_weights: bool
    wide_results: bool
    rounded: set[str] = field(default_factory=set)
    halves: dict[str, str] = field(default_factory=dict)
    made: list[onnx.NodeProto] = field(default_factory=list)
    depth: int = 0  # of a branch inside the graph: names must be unique over all of them

    def run(self) -> None:
        """Rewrite the graph and the branches inside it."""
        hoist_constants(self.graph)
        self.round_weights()
        for node in self.graph.node:
            if self.is_fp16(node):
                self.round_inputs(node)
                self.made.append(node)
                if not self.wide_results:
                    self.round_results(node)
            else:
                self.made.append(node)
            for branch in branches(node):
                Rounding(branch, self.floats, self.is_fp16, self.clip_weights, self.wide_results,
                         self.rounded, dict(self.halves), depth=self.depth + 1).run()
        del self.graph.node[:]
        self.graph.node.extend(self.made)

    def round_weights(self) -> None:
        """Round the weights that float16 nodes alone read; others get a rounded copy in front of the reader."""
        wide = {name for node in self.graph.node if not self.is_fp16(node) or branches(node) for name in read_by(node)}
        wide |= {value.name for value in self.graph.output}
        for tensor in self.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT and tensor.name not in wide:
                tensor.CopyFrom(numpy_helper.from_array(self.half(numpy_helper.to_array(tensor)), tensor.name))
                self.rounded.add(tensor.name)

    def half(self, values: np.ndarray) -> np.ndarray:
        """Round float32 values to what half precision can hold."""
        if self.clip_weights:
            values = np.clip(values, -LARGEST, LARGEST)
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)

    def round_inputs(self, node: onnx.NodeProto) -> None:
        """Let the node read rounded tensors only."""
        for index, name in enumerate(node.input):
            if name in self.floats and name not in self.rounded:
                if name not in self.halves:
                    self.halves[name] = self.cast_pair(name, f"{name}__half{self.depth or ''}")
                node.input[index] = self.halves[name]

    def round_results(self, node: onnx.NodeProto) -> None:
        """Round what the node makes, under the name that others read."""
        for index, name in enumerate(node.output):
            if name not in self.floats:
                continue
            if node.op_type not in SELECTS:
                node.output[index] = f"{name}__wide"
                self.cast_pair(f"{name}__wide", name)
            self.rounded.add(name)

    def cast_pair(self, wide: str, narrow: str) -> str:
        """Add the two Casts that round tensor `wide` into tensor `narrow`."""
        self.made.append(helper.make_node("Cast", [wide], [f"{narrow}__fp16"], f"{narrow}__to_fp16",
                                          to=TensorProto.FLOAT16))
        self.made.append(helper.make_node("Cast", [f"{narrow}__fp16"], [narrow], f"{narrow}__to_fp32",
                                          to=TensorProto.FLOAT))
        return narrow


def read_by(node: onnx.NodeProto) -> set[str]:
    """Return the names that a node reads, those that its branches read from outside included."""
    names = set(node.input)
    for branch in branches(node):
        for inner in branch.node:
            names |= read_by(inner)
        names |= {value.name for value in branch.output}
    return names
