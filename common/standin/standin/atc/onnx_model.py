"""The ONNX file: read it, refuse operators without a parser, set the inputs' shapes, choose the outputs."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import defs, helper

from standin.atc.errors import fail
from standin.atc.shapes import Shapes
from standin.fp16 import tensor_types

OPSETS = range(11, 19)  # the documented range of CANN 9
PROTOBUF_LIMIT = 2**31 - 1  # bytes of one protobuf message
OPERATORS = Path(__file__).with_name("operators.txt")
OUTPUT_DTYPES = {"FP32": onnx.TensorProto.FLOAT, "FP16": onnx.TensorProto.FLOAT16, "UINT8": onnx.TensorProto.UINT8,
                 "INT8": onnx.TensorProto.INT8}


def load(path: str) -> onnx.ModelProto:
    """Read a model and its weights; raise AtcError for a file that is none."""
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    if not 0 < size <= PROTOBUF_LIMIT:
        raise fail("E13015", file=path, size=size, limit=PROTOBUF_LIMIT)
    try:
        model = onnx.load(path)
    except DecodeError:
        raise fail("E13005", file=path) from None
    except (OSError, ValueError, onnx.checker.ValidationError) as error:  # weights beside the model
        raise fail("E10041", str(error), path=path) from None
    if not model.HasField("graph"):
        raise fail("E16004")
    if not inputs(model.graph):
        raise fail("E16001", value="input")
    return model


def inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a user feeds, in graph order: old exporters list the weights among the inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def check_operators(model: onnx.ModelProto) -> None:
    """Refuse operators and opsets without a parser, and more than one opset domain."""
    if len(model.opset_import) != 1:
        raise fail("E16005", count=len(model.opset_import))
    opset = model.opset_import[0].version
    known = {line for line in OPERATORS.read_text().split("\n") if line and not line.startswith("#")}
    missing = {}
    for node in nodes(model.graph):
        if opset not in OPSETS or node.op_type not in known or not in_opset(node.op_type, opset) or node.domain:
            key = f"{node.domain or 'ai.onnx'}::{opset}::{node.op_type}"
            missing.setdefault(key, f"No ONNX parser is registered for optype {key}. (node {node.name or '?'})")
    if missing:
        first, *others = missing
        raise fail("E16002", *(missing[key] for key in others), optype=first)


def in_opset(op_type: str, opset: int) -> bool:
    """Say whether the operator exists in this opset: LayerNormalization in 17, not in 11."""
    try:
        return not defs.get_schema(op_type, opset, "").deprecated
    except defs.SchemaError:
        return False


def nodes(graph: onnx.GraphProto):
    """Yield every node of the graph and of the branches inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give nameless nodes the names that an om shows: <OpType>_<n>, n counting the nodes."""
    taken = {node.name for node in graph.node}
    for index, node in enumerate(graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return a tensor's shape, -1 for every axis that is not fixed."""
    return tuple(axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else -1
                 for axis in value.type.tensor_type.shape.dim)


def dtype(value: onnx.ValueInfoProto) -> str:
    """Return a tensor's data type by numpy's name."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name


def set_shapes(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Write the asked shapes into the inputs, in place; refuse unknown names, wrong ranks, axes left open."""
    values = inputs(graph)
    known = {value.name: value for value in values}
    wanted = dict(shapes.named)
    if shapes.listed:
        if len(shapes.listed) != len(values):
            raise fail("E10049", count=len(shapes.listed), expected=len(values))
        wanted = {value.name: asked for value, asked in zip(values, shapes.listed)}
    for name, asked in wanted.items():
        if name not in known:
            code = "E10017" if any(name == node.name for node in graph.node) else "E10016"
            raise fail(code, opname=name, parameter="input_shape")
        if known[name].type.tensor_type.HasField("shape") and len(asked) != len(dims(known[name])):
            raise fail("E10049", count=len(asked), expected=len(dims(known[name])))
        set_dims(known[name], asked)
    if shapes.mode != "dynamic_shape":
        open_inputs = [value.name for value in values if value.name not in wanted and -1 in dims(value)]
        if open_inputs:
            raise fail("E10001", parameter="--input_shape", value=";".join(open_inputs), reason="The shapes of inputs "
                       "contain -1 in the model, and --input_shape does not set them.")


def set_dims(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Give the tensor this shape, in place; an axis of -1 gets a name of its own."""
    tensor = value.type.tensor_type
    tensor.shape.ClearField("dim")
    for axis, size in enumerate(shape):
        if size < 0:
            tensor.shape.dim.add().dim_param = f"{value.name}_{axis}"
        else:
            tensor.shape.dim.add().dim_value = size


def drop_weight_inputs(graph: onnx.GraphProto) -> None:
    """Remove the weights from the inputs, in place: a weight that is an input as well is no constant to the engine."""
    kept = {value.name for value in inputs(graph)}
    for value in list(graph.input):
        if value.name not in kept:
            graph.input.remove(value)


def forget_shapes(graph: onnx.GraphProto) -> None:
    """Remove what the exporter wrote of inner and output shapes: it was for other input shapes."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def choose_outputs(model: onnx.ModelProto, asked: str) -> None:
    """Make the tensors of --out_nodes the graph's outputs, in place.

    asked  "node:0;node2:1", or ONNX tensor names "a;b"; one form only
    """
    parts = [part for part in asked.split(";") if part]
    if not parts:
        return
    graph, types = model.graph, tensor_types(model)
    produced = {name for node in graph.node for name in node.output}
    by_node = [part for part in parts if part not in produced]
    if by_node and len(by_node) != len(parts):
        raise fail("E10001", parameter="--out_nodes", value=asked,
                   reason='Either every entry is "node:index" or every entry is an output name.')
    names = [output_of(graph, part) for part in by_node] or parts
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, types[name], None) for name in names)


def output_of(graph: onnx.GraphProto, part: str) -> str:
    """Return the tensor that "node:index" means."""
    name, colon, index = part.rpartition(":")
    if not colon:
        raise fail("E10016", opname=part, parameter="out_nodes")
    for node in graph.node:
        if node.name == name and index.isdigit() and int(index) < len(node.output):
            return node.output[int(index)]
    raise fail("E11017", opname=name)


def om_output_names(graph: onnx.GraphProto) -> list[str]:
    """Return the outputs' names in an om: <node>:<index>:<ONNX output>. Call it before any rewriting."""
    made_by = {name: (node.name, index) for node in graph.node for index, name in enumerate(node.output)}
    names = []
    for value in graph.output:
        node, index = made_by.get(value.name, (value.name, 0))
        names.append(f"{node}:{index}:{value.name}")
    return names


def output_dtypes(graph: onnx.GraphProto, asked: str, names: list[str]) -> dict[str, int]:
    """Return the element type that --output_type gives to ONNX outputs; outputs that it leaves alone are missing.

    asked  "FP16" for all outputs, or "node:0:FP16;node2:1:FP32"
    names  of the outputs in the om
    """
    if asked in OUTPUT_DTYPES:
        return {value.name: OUTPUT_DTYPES[asked] for value in graph.output}
    chosen = {}
    for part in filter(None, asked.split(";")):
        place, _, kind = part.rpartition(":")
        if kind not in OUTPUT_DTYPES:
            raise fail("E10001", parameter="--output_type", value=part, reason="The current value is not within the "
                       f"valid range. Only support {', '.join(OUTPUT_DTYPES)}.")
        fitting = [value.name for value, name in zip(graph.output, names) if name.startswith(f"{place}:")]
        if not fitting:
            raise fail("E10016", opname=place, parameter="output_type")
        chosen[fitting[0]] = OUTPUT_DTYPES[kind]
    return chosen


def cast_outputs(graph: onnx.GraphProto, kinds: dict[str, int]) -> None:
    """Convert these outputs to these element types, in place, keeping their names."""
    for value in graph.output:
        wanted = kinds.get(value.name, value.type.tensor_type.elem_type)
        if wanted != value.type.tensor_type.elem_type:
            inner = rename_tensor(graph, value.name)
            graph.node.append(helper.make_node("Cast", [inner], [value.name], f"{value.name}__output_type", to=wanted))
            value.type.tensor_type.elem_type = wanted


def cast_inputs(graph: onnx.GraphProto, asked: str) -> None:
    """Make the inputs of --input_fp16_nodes float16, in place, and convert them at once."""
    known = {value.name: value for value in inputs(graph)}
    for name in filter(None, asked.split(";")):
        if name not in known:
            code = "E10017" if any(name == node.name for node in graph.node) else "E10016"
            raise fail(code, opname=name, parameter="input_fp16_nodes")
        kind = known[name].type.tensor_type
        if kind.elem_type != onnx.TensorProto.FLOAT:
            raise fail("E10001", parameter="--input_fp16_nodes", value=name, reason=f"Its data type is "
                       f"{dtype(known[name])}, only float32 inputs can become float16.")
        kind.elem_type = onnx.TensorProto.FLOAT16
        inner = rename_tensor(graph, name)
        graph.node.insert(0, helper.make_node("Cast", [name], [inner], f"{name}__fp16", to=onnx.TensorProto.FLOAT))


def rename_tensor(graph: onnx.GraphProto, name: str) -> str:
    """Rename a tensor wherever nodes make or read it, branches included; return the new name."""
    inner = f"{name}__inner"
    for node in nodes(graph):
        for names in (node.input, node.output):
            for index, tensor in enumerate(names):
                if tensor == name:
                    names[index] = inner
    return inner
