"""What an om says of itself: --mode=6 prints it, --mode=1 writes it as JSON."""
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from standin import WATERMARK, om
from standin.atc.checks import readable
from standin.atc.errors import fail
from standin.atc.flags import FRAMEWORKS


def display(options: dict[str, str]) -> None:
    """Print the om of --om: the command that made it, the tool's version, sizes."""
    if not options["om"]:
        raise fail("E10004", parameter="om")
    readable(options, "om")
    if options["framework"] != "-1":
        raise fail("E10057", first="om", second="mode")
    print_info(read(options["om"]))


def print_info(model: om.OfflineModel) -> None:
    """Print the model's information in the real tool's lines; sizes that the stand-in has not are 0."""
    weights = sum(len(tensor.raw_data) for tensor in graph_of(model).initializer)
    size = len(model.graph)
    print("============ Display Model Info start ============")
    print(f"Original Atc command line: {model.command}")
    print(f"system   info: atc_version[{WATERMARK}], soc_version[{model.soc_version}], framework_type[Onnx].")
    print(f"resource info: memory_size[{size} B], weight_size[{weights} B], stream_num[1], event_num[0].")
    print(f"om       info: modeldef_size[{size - weights} B], weight_data_size[{weights} B], tbe_kernels_size[0 B], "
          "cust_aicpu_kernel_store_size[0 B], task_info_size[0 B], so_store_size[0 B].")
    print("============ Display Model Info end   ============", flush=True)


def to_json(options: dict[str, str]) -> None:
    """Write the om, or with --framework=5 the ONNX model, of --om into --json: everything but the weights."""
    for name in ("om", "json"):
        if not options[name]:
            raise fail("E10004", parameter=name)
    if options["framework"] not in ("-1", "5"):
        raise fail("E10007", parameter="framework", support=FRAMEWORKS)
    readable(options, "om")
    header = {}
    if options["framework"] == "5":
        from standin.atc.onnx_model import load

        graph = load(options["om"]).graph
    else:
        model = read(options["om"])
        graph = graph_of(model)
        header = dataclasses.asdict(model)
        del header["graph"]
    header["graph"] = {"name": graph.name, "op": [
        {"name": node.name, "type": node.op_type, "input": list(node.input), "output": list(node.output)}
        for node in graph.node]}
    try:
        Path(options["json"]).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise fail("E13004", file=options["json"], reason=error) from None


def read(path: str) -> om.OfflineModel:
    """Read an om; a real one, a damaged one and what is none are parse failures, with the reason behind."""
    try:
        return om.read(Path(path))
    except om.OmError as error:
        raise fail("E13005", str(error), file=path) from None


def graph_of(model: om.OfflineModel):
    """Return the ONNX graph inside the om."""
    import onnx

    return onnx.ModelProto.FromString(model.graph).graph
