"""The command line of atc: which options exist, how they are written, which values they take.

Grammar (GNU getopt_long): --name=value, --name value, -name value; '-' inside a name reads as '_'; a prefix that fits
one option only is that option. Source: hicann/ge, api/atc/cmd_flag_info.cc and atc_flags.cc.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from standin.atc.errors import fail

FRAMEWORKS = "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)"
ON_OFF = ("0", "1")


class UsageError(Exception):
    """A command line that cannot be read; the text goes to stderr after `ERROR: `."""


@dataclass(frozen=True)
class Flag:
    """One option: its default, the values it takes (any, if empty) and whether it needs one at all."""

    name: str
    help: str
    default: str = ""
    values: tuple[str, ...] = ()
    kind: str = "string"  # string, int, bool (value optional)


FLAGS = {flag.name: flag for flag in (
    Flag("help", "show this help message", "0", kind="bool"),
    Flag("mode", "0: default, generate offline model; 1: convert model to JSON; 6: display model info", "0",
         ("0", "1", "3", "5", "6", "7", "30")),
    Flag("model", "the model file"),
    Flag("weight", "weight file, ignored for ONNX"),
    Flag("om", "the model file to be shown or converted to json"),
    Flag("framework", "0: Caffe; 1: MindSpore; 3: TensorFlow; 5: ONNX (the stand-in reads ONNX)", "-1",
         ("0", "1", "3", "5")),
    Flag("input_format", "NCHW, NCDHW or ND"),
    Flag("input_shape", 'shapes of the inputs, "name1:n1,c1;name2:n2,c2"; a -1 or a~b makes an axis dynamic'),
    Flag("input_shape_range", "deprecated, use input_shape"),
    Flag("input_hint_shape", "shape hint of dynamic inputs"),
    Flag("dynamic_batch_size", 'batch gears, "1,2,4"'),
    Flag("dynamic_image_size", 'image gears, "h,w;h,w"'),
    Flag("dynamic_dims", 'gears, one value for each -1 of input_shape, "64,64;128,128"'),
    Flag("singleop", "single operator file"),
    Flag("output", "output path and name, without .om"),
    Flag("output_type", 'data type of the outputs: FP32, FP16, UINT8, INT8, or "node:0:FP16;node2:0:FP32"'),
    Flag("check_report", "pre-checking report", "check_result.json"),
    Flag("json", "the output json file"),
    Flag("host_env_os", "OS of the target"),
    Flag("host_env_cpu", "CPU of the target"),
    Flag("soc_version", "the chip, as Ascend310P3; of the stand-in only: cpu = fp32 on the host, nothing rounded"),
    Flag("virtual_type", "0 or 1", "0", ON_OFF),
    Flag("core_type", "AiCore or VectorCore", "AiCore", ("AiCore", "VectorCore")),
    Flag("aicore_num", "number of AI cores"),
    Flag("out_nodes", 'outputs of the model, "node:0;node2:1" or ONNX output names "a;b"'),
    Flag("input_fp16_nodes", 'inputs that are float16, "name1;name2"'),
    Flag("insert_op_conf", "AIPP configuration"),
    Flag("op_name_map", "custom operator names"),
    Flag("is_input_adjust_hw_layout", "NC1HWC0 inputs"),
    Flag("is_output_adjust_hw_layout", "NC1HWC0 outputs"),
    Flag("external_weight", "0: weights in the om; 1, 2: in files", "0", ("0", "1", "2")),
    Flag("disable_reuse_memory", "0 or 1", "0", ON_OFF),
    Flag("fusion_switch_file", "which fusion passes run"),
    Flag("enable_scope_fusion_passes", "scope fusion passes"),
    Flag("enable_single_stream", "true or false"),
    Flag("ac_parallel_enable", "0 or 1", "0", ON_OFF),
    Flag("tiling_schedule_optimize", "0 or 1", "0", ON_OFF),
    Flag("quant_dumpable", "0 or 1"),
    Flag("enable_small_channel", "0 or 1", "0"),
    Flag("enable_compress_weight", "true or false", "false"),
    Flag("compress_weight_conf", "weight compression file"),
    Flag("compression_optimize_conf", "compression file"),
    Flag("sparsity", "0 or 1", "0", ON_OFF),
    Flag("buffer_optimize", "l1_optimize, l2_optimize or off_optimize", "l2_optimize",
         ("l1_optimize", "l2_optimize", "off_optimize")),
    Flag("mdl_bank_path", "tuning repository"),
    Flag("op_bank_path", "tuning repository"),
    Flag("oo_level", "O1 or O3", "O3", ("O1", "O3")),
    Flag("op_precision_mode", "operator precision file (.ini)"),
    Flag("allow_hf32", "true or false"),
    Flag("precision_mode", "force_fp16 (default), force_fp32, must_keep_origin_dtype, allow_mix_precision ...",
         values=("force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_mix_precision", "allow_fp32_to_fp16",
                 "must_keep_origin_dtype", "allow_mix_precision_fp16", "allow_mix_precision_bf16",
                 "allow_fp32_to_bf16")),
    Flag("precision_mode_v2", "fp16 (default), origin, mixed_float16 ...",
         values=("fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16", "cube_hif8",
                 "mixed_hif8")),
    Flag("modify_mixlist", "black and white list of mixed precision (JSON)"),
    Flag("keep_dtype", "file of operators that keep their data type"),
    Flag("customize_dtypes", "data types file"),
    Flag("is_weight_clip", "what becomes of weights beyond 65504: 1 clipped; 0 infinite (the stand-in's default, as "
         "older CANN; CANN 9's is 1)", "0", ON_OFF),
    Flag("op_select_implmode", "high_precision, high_performance, and each with _for_all",
         values=("high_precision", "high_performance", "high_precision_for_all", "high_performance_for_all")),
    Flag("optypelist_for_implmode", 'operators that op_select_implmode is for, "Gelu,Sigmoid"'),
    Flag("jit_compile", "0, 1 or 2", "1", ("0", "1", "2")),
    Flag("optimization_switch", "graph passes"),
    Flag("op_debug_level", "0 to 4", "0", ("0", "1", "2", "3", "4")),
    Flag("op_debug_config", "operator debugging"),
    Flag("debug_dir", "intermediate files"),
    Flag("save_original_model", "true or false"),
    Flag("op_compiler_cache_mode", "enable, disable or force", "disable", ("enable", "disable", "force")),
    Flag("op_compiler_cache_dir", "operator cache"),
    Flag("log", "debug, info, warning, error or null", "null", ("debug", "info", "warning", "error", "null")),
    Flag("dump_mode", "0 or 1", "0", ON_OFF),
    Flag("status_check", "0 or 1", "0", ON_OFF),
    Flag("display_model_info", "0 or 1", "0", ON_OFF),
    Flag("deterministic", "0 or 1", "0", ON_OFF),
    Flag("deterministic_level", "0, 1 or 2", "0", ("0", "1", "2")),
    Flag("atomic_clean_policy", "0 or 1", "0", ON_OFF),
    Flag("device_id", "device", "0"),
    Flag("auto_tune_mode", "deprecated"),
)}
# These answer a wrong value with "must be either 1 or 0", even where a 2 is allowed.
ONE_OR_ZERO = {"status_check", "deterministic", "external_weight", "display_model_info", "atomic_clean_policy",
               "dump_mode", "disable_reuse_memory", "sparsity", "is_weight_clip"}


def parse(arguments: list[str]) -> dict[str, str]:
    """Return the value of every option, the defaults filled in; raise UsageError or AtcError."""
    values = {flag.name: flag.default for flag in FLAGS.values()}
    waiting, plain = list(arguments), []
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            plain += waiting
            break
        if not re.match(r"--?[A-Za-z]", word):
            plain.append(word)
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        flag = find(name)
        if flag.kind == "bool":
            value = value or "1"
        elif not has_value:
            if not waiting:
                raise UsageError(f"flag '{word}' is missing its argument; flag description: {flag.help}")
            value = waiting.pop(0)
        check_value(flag, value)
        values[flag.name] = value
        if flag.name == "help":
            return values
    if plain:
        raise UsageError("\nERROR: ".join(f"Non-option parameter: {word}" for word in plain))
    return values


def find(name: str) -> Flag:
    """Return the option of this name, of which an unambiguous beginning is enough."""
    wanted = "help" if name == "h" else name.replace("-", "_")
    fitting = [wanted] if wanted in FLAGS else [known for known in FLAGS if known.startswith(wanted)]
    if len(fitting) != 1:
        raise UsageError(f"unknown command line flag '{wanted}'")
    return FLAGS[fitting[0]]


def check_value(flag: Flag, value: str) -> None:
    """Refuse a value outside the option's list with the code that this option has for it."""
    if not flag.values or value in flag.values:
        return
    if flag.name in ONE_OR_ZERO:
        raise fail("E10006", value=value, parameter=flag.name)
    if flag.name == "log":
        raise fail("E10010", value=value)
    if flag.name == "framework":
        raise fail("E10007", parameter="framework", support=FRAMEWORKS)
    valid = " ".join(f"[{allowed}]" for allowed in sorted(flag.values))
    raise fail("E10001", value=value, parameter=f"--{flag.name}",
               reason=f"The value is not within the range of values. The valid range is {valid} .")


def usage() -> str:
    """Return the text of --help."""
    lines = ["usage: atc <args>",
             "example: atc --framework=5 --model=model.onnx --output=model --input_shape=\"input_ids:1,128\" "
             "--soc_version=Ascend310P3", ""]
    for flag in FLAGS.values():
        default = f" (default {flag.default})" if flag.default not in ("", "-1") and flag.kind != "bool" else ""
        lines.append(f"  --{flag.name:<28}{flag.help}{default}")
    return "\n".join(lines)
