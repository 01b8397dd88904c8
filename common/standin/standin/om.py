"""The stand-in's .om: a line that names it, a JSON header, and the specialised ONNX graph.

    npukit stand-in offline model\n     the watermark: `head -1 model.om` tells what it is
    {"inputs": [...], ...}\n            the header, one line of JSON
    <ONNX protobuf>                     the graph, ready for ONNX Runtime

A real .om begins with the letters IMOD and is refused by name, as is a file that was cut short.
"""
import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"npukit stand-in offline model\n"
REAL_MAGIC = b"IMOD"


class OmError(Exception):
    """An .om that cannot be used; the text is one sentence."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of the model; shape holds -1 where a gear or batch decides."""

    name: str
    dtype: str  # numpy's name: int64, float32, float16 ...
    shape: tuple[int, ...]


@dataclass(frozen=True)
class OfflineModel:
    """What atc made: the graph and all that the runtime must know of it.

    inputs    in the order of --input_shape's graph (the order ais_bench pairs directories with)
    outputs   named `<last node>:<index>:<ONNX output>` as in a real .om
    mode      static, dynamic_batch, dynamic_dims or dynamic_shape
    gears     for dynamic_batch and dynamic_dims: the values of the -1s, in input order, one tuple a gear
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    mode: str
    gears: tuple[tuple[int, ...], ...]
    soc_version: str
    precision: str  # fp32, fp16, mixed
    command: str
    tool_version: str
    graph: bytes = field(repr=False)


def write(path: Path, model: OfflineModel) -> None:
    """Write the model beside its place and move it there, readable by its owner only (as atc does)."""
    header = dataclasses.asdict(model)
    graph = header.pop("graph")
    header["graph_sha256"] = hashlib.sha256(graph).hexdigest()
    header["graph_bytes"] = len(graph)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(MAGIC)
        file.write(json.dumps(header).encode() + b"\n")
        file.write(graph)
    aside.replace(path)


def read(path: Path) -> OfflineModel:
    """Read a model back; raise OmError for a file that is not the stand-in's or not whole."""
    with open(path, "rb") as file:
        first = file.read(len(MAGIC))
        if first.startswith(REAL_MAGIC):
            raise OmError(f"{path} was compiled by CANN's atc for a real NPU; the stand-in runs only what its own atc made")
        if first != MAGIC:
            raise OmError(f"{path} is not an offline model: it does not begin as one")
        head, graph = file.readline(), file.read()  # in two parts: the graph may be a gigabyte, and is held once
    try:
        header = json.loads(head)
        size, digest = header.pop("graph_bytes"), header.pop("graph_sha256")
    except (ValueError, KeyError):
        raise OmError(f"{path} is cut short: its header is not whole") from None
    if len(graph) != size or hashlib.sha256(graph).hexdigest() != digest:
        raise OmError(f"{path} is cut short or damaged: {len(graph)} bytes of graph, its header says {size}")
    header["inputs"] = tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in header["inputs"])
    header["outputs"] = tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in header["outputs"])
    header["gears"] = tuple(tuple(gear) for gear in header["gears"])
    return OfflineModel(**header, graph=graph)
