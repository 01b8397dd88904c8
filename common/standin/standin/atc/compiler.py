"""From a checked graph to an OfflineModel: the chip's arithmetic, a trial load, and the description for the runtime."""
from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import numpy as np
import onnx

from standin import VERSION, fp16, om
from standin.atc import onnx_model
from standin.atc.checks import CPU
from standin.atc.errors import AtcError, fail
from standin.atc.shapes import Shapes

FULL = {"", "force_fp16", "fp16"}
WIDE = {"force_fp32", "must_keep_origin_dtype", "origin"}
CUBE_ONLY = "cube_fp16in_fp32out"


def compile_model(options: dict[str, str], asked: Shapes, command: str) -> tuple[om.OfflineModel, Path]:
    """Compile the model that the options name; return it and the path it belongs to."""
    data, inputs, names, precision = build(options, asked)
    outputs = load_once(data, precision, inputs, names, asked.mode == "static")
    compiled = om.OfflineModel(inputs, outputs, asked.mode, in_graph_order(asked, inputs), options["soc_version"],
                               precision, command, f"npukit stand-in {VERSION}", data)
    suffix = f"_{platform.system().lower()}_{platform.machine()}.om" if asked.mode == "dynamic_shape" else ".om"
    return compiled, Path(options["output"] + suffix)


def build(options: dict[str, str], asked: Shapes) -> tuple[bytes, tuple[om.Tensor, ...], list[str], str]:
    """Read the model and rewrite it as asked; return the graph, its inputs, its outputs' names, its precision.

    A function of its own, so that the model's weights are in memory once when the engine loads the graph.
    """
    model = onnx_model.load(options["model"])
    onnx_model.check_operators(model)
    graph = model.graph
    onnx_model.name_nodes(graph)
    onnx_model.drop_weight_inputs(graph)
    onnx_model.set_shapes(graph, asked)
    onnx_model.forget_shapes(graph)
    onnx_model.choose_outputs(model, options["out_nodes"])
    names = onnx_model.om_output_names(graph)
    kinds = onnx_model.output_dtypes(graph, options["output_type"], names)
    precision = set_precision(model, options)
    onnx_model.cast_inputs(graph, options["input_fp16_nodes"])
    onnx_model.cast_outputs(graph, kinds)
    inputs = tuple(om.Tensor(value.name, onnx_model.dtype(value), onnx_model.dims(value))
                   for value in onnx_model.inputs(graph))
    return serialize(model, options["output"]), inputs, names, precision


def serialize(model: onnx.ModelProto, name: str) -> bytes:
    """Return the model as one protobuf message, which is at most 2 GiB."""
    size = model.ByteSize()
    if size > onnx_model.PROTOBUF_LIMIT:
        raise fail("E13023", item=name, size=size, limit=onnx_model.PROTOBUF_LIMIT)
    return model.SerializeToString()


def in_graph_order(asked: Shapes, inputs: tuple[om.Tensor, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the gears with their values in the inputs' order: the command line may name the inputs in another."""
    places = {}
    for name, dims in asked.named.items():
        start = sum(map(len, places.values()))
        places[name] = range(start, start + dims.count(-1))
    order = [place for tensor in inputs for place in places.get(tensor.name, ())]
    return tuple(tuple(gear[place] for place in order) for gear in asked.gears)


def set_precision(model: onnx.ModelProto, options: dict[str, str]) -> str:
    """Rewrite the model in place for the asked arithmetic; return its name for the om: fp32, fp16 or mixed."""
    mode = options["precision_mode"] or options["precision_mode_v2"]
    if options["soc_version"] == CPU or mode in WIDE:
        return "fp32"
    kept_names, kept_types = read_keep_dtype(options["keep_dtype"], model.graph)
    halves = None if mode in FULL else mixed_types(options["modify_mixlist"])

    def is_fp16(node: onnx.NodeProto) -> bool:
        if node.name in kept_names or node.op_type in kept_types:
            return False
        return halves is None or node.op_type in halves

    fp16.convert(model, is_fp16, options["is_weight_clip"] == "1", mode == CUBE_ONLY)
    return "fp16" if mode in FULL else "mixed"


def read_keep_dtype(path: str, graph: onnx.GraphProto) -> tuple[set[str], set[str]]:
    """Return the node names and the operator types of --keep_dtype: a name or `OpType::X` a line."""
    if not path:
        return set(), set()
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    types = {line.removeprefix("OpType::") for line in lines if line.startswith("OpType::")}
    names = {line for line in lines if not line.startswith("OpType::")}
    unknown = names - {node.name for node in onnx_model.nodes(graph)}
    if unknown:
        raise fail("E10003", parameter="keep_dtype", value=path,
                   reason=f"The model has no operator named {', '.join(sorted(unknown))}.")
    return names, types


def mixed_types(path: str) -> set[str]:
    """Return the operators that are float16 in mixed precision, after the lists of --modify_mixlist.

    white-list: to-add become float16, to-remove stop being it; black-list: the other way round.
    """
    types = set(fp16.CUBE)
    if not path:
        return types
    try:
        lists = json.loads(Path(path).read_text(encoding="utf-8"))
        white, black = lists.get("white-list", {}), lists.get("black-list", {})
        types |= {*white.get("to-add", ())}
        types -= {*white.get("to-remove", ()), *black.get("to-add", ())}
    except (ValueError, AttributeError, TypeError) as error:
        raise fail("E10032", file=path, reason=f"{error}; expected white-list and black-list, each with to-add and "
                                               "to-remove") from None
    return types


def load_once(data: bytes, precision: str, inputs: tuple[om.Tensor, ...], names: list[str],
              static: bool) -> tuple[om.Tensor, ...]:
    """Load the graph into ONNX Runtime, so that what cannot run fails here and not at inference; describe its outputs.

    names   of the outputs in the om
    static  every shape is fixed: where the engine cannot derive an output's, one run on zeros shows it
    """
    import onnxruntime  # not before it is needed: a mistyped flag is answered without it

    options = fp16.session_options_for(precision)
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    except Exception as error:  # the engine's own exceptions have no common base but this
        raise compile_error(error) from error
    found = [(DTYPES[output.type], tuple(size if isinstance(size, int) else -1 for size in output.shape))
             for output in session.get_outputs()]
    if static and any(-1 in shape for _, shape in found):
        zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in inputs}
        try:
            found = [(value.dtype.name, value.shape) for value in session.run(None, zeros)]
        except Exception as error:
            raise compile_error(error) from error
    return tuple(om.Tensor(name, dtype, tuple(shape)) for name, (dtype, shape) in zip(names, found))


DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64",
          "tensor(bool)": "bool", **{f"tensor({kind})": kind for kind in (
              "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}}


NAMED = [re.compile(pattern) for pattern in (  # how ONNX Runtime names the node that it complains of
    r"Node \((?P<name>.*?)\) Op \((?P<type>\w+)\)",
    r"Node, \(\"(?P<name>.*?)\", (?P<type>\w+)",
    r"running (?P<type>\w+) node\. Name:'(?P<name>.*?)'",
    r"(?:Optype|operator) \((?P<type>\w+)\).* in node \((?P<name>.*?)\)")]


def compile_error(error: Exception) -> AtcError:
    """Turn the engine's complaint into the operator compiler's: E20001, with the node if the engine names one."""
    text = " ".join(str(error).split())
    found = next(filter(None, (pattern.search(text) for pattern in NAMED)), None)
    return fail("E20001", text, opname=found["name"] if found else "?", optype=found["type"] if found else "?")
