"""What may be asked of atc, judged before the model is opened, in the real tool's order.

Source: hicann/ge, api/atc/main_impl.cc (CheckFlags) and compiler/api/aclgrph/option_utils.cc.
"""
from __future__ import annotations

import os
import re
from pathlib import Path

from standin.atc.errors import fail
from standin.atc.flags import FRAMEWORKS

CPU = "cpu"
# The names that CANN 8 and 9 know; a chip's name is what npu-smi prints, after "Ascend".
ASCEND = {f"Ascend{name}" for name in (
    "310", "310B1", "310B2", "310B3", "310B4", "310P1", "310P3", "310P5", "310P7", "310P3Vir01", "310P3Vir02",
    "310P3Vir04", "310P3Vir08", "910", "910A", "910B", "910PremiumA", "910ProA", "910ProB", "910B1", "910B2", "910B2C",
    "910B3", "910B4", "910B4-1", "910_9362", "910_9372", "910_9381", "910_9382", "910_9391", "910_9392")}
BEYOND_FP16 = {"allow_mix_precision_bf16", "allow_fp32_to_bf16", "mixed_bfloat16", "cube_hif8", "mixed_hif8"}
MIXED = {"allow_mix_precision", "allow_mix_precision_fp16", "mixed_float16"}
OUTPUT_TYPES = ("FP32", "FP16", "UINT8", "INT8")
PATH = re.compile(r"[\u4e00-\u9fa5A-Za-z0-9./_-]+")
PATH_REASON = "The path can only contain 'a-z' 'A-Z' '0-9' '-' '.' '_' and Chinese characters."
PATH_LIMIT = 4096


def check(options: dict[str, str]) -> None:
    """Raise AtcError for the first thing that is wrong with a mode 0 command line; shapes are judged in `shapes`."""
    if options["framework"] == "-1":
        raise fail("E10007", parameter="framework", support=FRAMEWORKS)
    for name in ("soc_version", "output", "model"):
        if not options[name]:
            raise fail("E10054", parameter=f"--{name}")
    readable(options, "model")
    output_path(options["output"])
    check_implementation_mode(options)
    check_precision(options)
    for name in ("weight", "op_name_map", "insert_op_conf", "compress_weight_conf", "fusion_switch_file"):
        if options[name]:
            readable(options, name)
    check_switches(options)
    check_target(options)


def readable(options: dict[str, str], name: str, reason: str = "") -> None:
    """Refuse a path that cannot be read; `reason` replaces the operating system's."""
    path = options[name]
    real = os.path.realpath(path)
    if not os.path.exists(real):
        raise fail("E10001", parameter=f"--{name}", value=path,
                   reason=reason or "realpath error, errmsg:[Errno 2] No such file or directory")
    if not PATH.fullmatch(real):
        raise fail("E10001", parameter=f"--{name}", value=path, reason=PATH_REASON)
    if not os.access(real, os.R_OK):
        raise fail("E10001", parameter=f"--{name}", value=path, reason="cat not access, errmsg:Permission denied")


def output_path(path: str) -> None:
    """Refuse an output without a file name or with odd letters; make its directory, as the real tool does."""
    if len(path) + len(".om") >= PATH_LIMIT:
        raise fail("E10021", parameter="output", size=PATH_LIMIT)
    if not PATH.fullmatch(path):
        raise fail("E10001", parameter="--output", value=path, reason=PATH_REASON)
    if path.endswith("/"):
        raise fail("E10022", filename=path, parameter="output")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail("E10001", parameter="--output", value=path, reason=f"cannot make its directory: {error}") from None


def check_implementation_mode(options: dict[str, str]) -> None:
    """A list of operators without an implementation mode is refused; a mode without a list is not."""
    if options["optypelist_for_implmode"] and not options["op_select_implmode"]:
        raise fail("E10001", parameter="--op_select_implmode", value="",
                   reason="Parameters --op_select_implmode and --optypelist_for_implmode must be set at the same time.")


def check_precision(options: dict[str, str]) -> None:
    """Judge the options that decide the arithmetic."""
    first, second = options["precision_mode"], options["precision_mode_v2"]
    if options["op_precision_mode"]:
        readable(options, "op_precision_mode", "Path defined by op precision mode is not found.")
    if first and second:
        raise fail("E10056", first="--precision_mode", second="--precision_mode_v2")
    mode = first or second
    if mode in BEYOND_FP16:
        raise fail("E10055", reason=f"{mode} needs an arithmetic that the chip {options['soc_version'] or '?'} has not")
    if options["modify_mixlist"]:
        if mode not in MIXED:
            raise fail("E10001", parameter="--modify_mixlist", value=options["modify_mixlist"],
                       reason="Modify_mixlist is set. Please ensure that precision_mode is set to any of "
                              "{allow_mix_precision, allow_mix_precision_fp16} or precision_mode_v2 to mixed_float16.")
        readable(options, "modify_mixlist")
    if options["keep_dtype"]:
        readable(options, "keep_dtype", "File defined by keep_dtype is not found.")


def check_switches(options: dict[str, str]) -> None:
    """Judge the switches that are words."""
    for name in ("enable_compress_weight", "save_original_model", "enable_single_stream", "allow_hf32"):
        if options[name] not in ("", "true", "false"):
            raise fail("E10005", value=options[name], parameter=name)
    if options["quant_dumpable"] not in ("", "0", "1"):
        raise fail("E10006", value=options["quant_dumpable"], parameter="quant_dumpable")
    if options["enable_compress_weight"] == "true" and options["compress_weight_conf"]:
        raise fail("E10047", first="enable_compress_weight", second="compress_weight_conf")
    if options["insert_op_conf"] and options["dynamic_dims"]:
        raise fail("E10001", parameter="--insert_op_conf", value=options["insert_op_conf"],
                   reason="The dynamic dims function does not support AIPP.")
    if options["auto_tune_mode"]:
        raise fail("E10001", parameter="--auto_tune_mode", value=options["auto_tune_mode"],
                   reason="The Auto Tune function has been deprecated. Please use the AOE tool for tuning.")
    kind = options["output_type"]
    if kind and ":" not in kind and kind not in OUTPUT_TYPES:
        raise fail("E10001", parameter="--output_type", value=kind, reason="The current value is not within the valid "
                   f"range. Only support {', '.join(OUTPUT_TYPES)}.")


def check_target(options: dict[str, str]) -> None:
    """Judge the chip, the input format and what only the real compiler can do."""
    soc = options["soc_version"]
    if soc != CPU and soc not in ASCEND:
        hint = f" Did you mean Ascend{soc}?" if f"Ascend{soc}" in ASCEND else ""
        raise fail("E10001", parameter="--soc_version", value=soc,
                   reason=f"The current value is not within the valid range.{hint}")
    if options["input_format"] not in ("", "NCHW", "ND", "NCDHW"):
        raise fail("E10001", parameter="--input_format", value=options["input_format"],
                   reason="The value must be NCHW, ND or NCDHW in ONNX model.")
    if options["framework"] != "5":
        raise fail("E10055", reason="the npukit stand-in compiles ONNX models only (--framework=5)")
    for name in ("insert_op_conf", "singleop"):
        if options[name]:
            raise fail("E10055", reason=f"the npukit stand-in has no --{name}")
