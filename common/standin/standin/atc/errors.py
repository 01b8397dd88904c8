"""Error codes of atc and their texts.

The texts are the templates of the CANN 9 registry (no brackets round the values); E20001 is the operator compiler's.
Source: hicann/ge, base/common/error_registry/error_registry.cc.
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

VALID = "Try again with a valid argument."
SET_VALID = "Set a valid parameter value."
USAGE = 'Run the "atc -h" command to view the usage. For details, see ATC Instructions.'
STATIC_OR_DYNAMIC = (
    "1. In static shape scenarios, remove the --dynamic_batch_size option from your command line. "
    "2. In dynamic shape scenarios, set the corresponding axis of the dynamic-shape input in --input_shape to -1.")
GEARS = "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims"

TEMPLATES = {  # code: text, solution (None where the registry has none)
    "E10001": ("Value {value} for parameter {parameter} is invalid. Reason: {reason}", VALID),
    "E10002": ("Value {shape} for parameter --input_shape is invalid. Reason: {reason}. "
               "The value must be formatted as {sample}.",
               "The valid format is input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2. Replace input_name with node "
               "names. Ensure that the shape values are integers."),
    "E10003": ("Value {value} for parameter --{parameter} is invalid. Reason: {reason}", None),
    "E10004": ("Value for --{parameter} is empty.", SET_VALID),
    "E10005": ("Value {value} for parameter --{parameter} is invalid. The value must be either true or false.",
               f"{SET_VALID} The parameter value can only be true or false."),
    "E10006": ("Value {value} for parameter --{parameter} is invalid. The value must be either 1 or 0.",
               f"{SET_VALID} The parameter value can only be 1 or 0."),
    "E10007": ("--{parameter} is required. The value must be {support}.", SET_VALID),
    "E10009": ("--dynamic_batch_size, --dynamic_image_size, --input_shape_range, and --dynamic_dims are mutually "
               "exclusive.",
               "1. In dynamic shape scenarios, include only one of these options in your command line.  "
               "2. In static shape scenarios, remove these options from your command line."),
    "E10010": ("Value {value} for parameter --log is invalid.",
               "Select the value from debug, info, warning, error, and null."),
    "E10011": ("Value {shape} for parameter --input_shape is invalid. Shape values must be positive integers. "
               "The error value in the shape is {value}.",
               "1. In static shape scenarios, set the shape values in --input_shape to positive integers. "
               "2. In dynamic shape scenarios, add the related dynamic-input option in your command line, such as "
               "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims."),
    "E10012": ("--dynamic_batch_size is included, but the dimension count of the dynamic-shape input configured in "
               "--input_shape is less than 1.", STATIC_OR_DYNAMIC),
    "E10013": ("Value {value} for --{parameter} is out of range.", USAGE),
    "E10014": ("Value {value} for parameter --{parameter} is invalid.", USAGE),
    "E10016": ("Opname {opname} specified in --{parameter} is not found in the model. Confirm whether this node name "
               "exists, or the node is not split with the specified delimiter ';'.",
               "Specify the name of an existing node in the graph."),
    "E10017": ("Input Op {opname} specified in --{parameter} is invalid. The Op type must be Data.", None),
    "E10018": ("Value {value} for shape {index} is invalid. When --dynamic_batch_size is included, only batch size N "
               "can be -1 in --input_shape.",
               "Try again with a valid --input_shape argument. Make sure that non-batch size axes are not -1."),
    "E10021": ("Path for parameter --{parameter} is too long. Keep the length within {size}.",
               "The path name exceeds the maximum length. Specify a valid path name."),
    "E10022": ("Path {filename} for parameter --{parameter} does not include the file name.",
               "Add the file name to the path."),
    "E10031": ("--dynamic_batch_size is included, but none of the nodes specified in --input_shape has a batch size "
               "equaling -1.", STATIC_OR_DYNAMIC),
    "E10032": ("Parse json file {file} failed. Reason: {reason}.", "Check whether the json file is valid."),
    "E10035": (GEARS + " has {count} profiles, which is less than the minimum {limit}.",
               f"Ensure that the number of profiles configured in {GEARS} is at least the minimum."),
    "E10036": (GEARS + " has {count} profiles, which is greater than the maximum {limit}.",
               f"Ensure that the number of profiles configured in {GEARS} is at most the maximum."),
    "E10038": ("Dimension size {dim} is invalid. The value must be greater than 0.",
               f"Set the shape values of each profile to positive in {GEARS}."),
    "E10039": (f"The {GEARS} argument have duplicate profiles.",
               f"Check that the profiles configured in {GEARS} are unique."),
    "E10040": (f"As the {GEARS} argument is included, the corresponding nodes specified in --input_shape must have -1 "
               "axes and cannot have '~'.",
               "Set the corresponding axis of the dynamic-shape input in --input_shape to -1, or remove the "
               "--dynamic_* option."),
    "E10041": ("Failed to load the model from {path}.",
               "1. Check that the model file is valid. 2. Check that the weight file or path is valid when the model "
               "is more than 2 GB. 3. Check that the --framework argument matches the actual framework of the model "
               "file."),
    "E10047": ("--{first} and --{second} are mutually exclusive.", "Remove either of them and try again."),
    "E10048": ("Value {value} for parameter --input_shape_range or dynamic_inputs_shape_range is invalid. "
               "Reason: {reason}. The value must be formatted as {sample}.", VALID),
    "E10049": ("Dimension count {count} configured in --input_shape does not match dimension count {expected} of the "
               "node.",
               "Set the dimension count in --input_shape according to the dimension count of the node."),
    "E10054": ("The required parameter {parameter} for ATC is empty. Another possible reason is that the values of "
               'some parameters are not enclosed by quotation marks ("").',
               "Check whether the command line parameter format is correct."),
    "E10055": ("The operation is not supported. Reason: {reason}.",
               "Check whether the configured parameter or used function is supported."),
    "E10056": ("Cannot configure both parameters {first} and {second} simultaneously.",
               "The two parameters cannot be set at the same time. View the parameter descriptions by referring to the "
               "documentation."),
    "E10057": ("--{first} and --{second} can only be used together",
               "If the value of --mode is 6, it only needs to be used with --om. Please check and try again."),
    "E10058": ("Parameter {parameter} is not configured or is empty.", None),
    "E11017": ("Failed to find node {opname} specified by --out_nodes.",
               "Try again with a valid --out_nodes argument."),
    "E13004": ("Failed to write file {file}. Reason: {reason}.", None),
    "E13005": ("Failed to parse file {file}.",
               "Check that a matched Protobuf version is installed and try again with a valid file. For details, see "
               'section "--framework" in ATC Instructions.'),
    "E13015": ("File {file} has a size of {size}, which is out of valid range (0, {limit}].", None),
    "E13023": ("Model {item} has a size of {size} bytes, which exceeds system limit of {limit} bytes.",
               "Reduce the model size."),
    "E16001": ("The model has no {value} node.", "Check whether the ONNX model contains the input node."),
    "E16002": ("No ONNX parser is registered for optype {optype}.",
               "Check the version of the installation package and reinstall the package. For details, see the "
               "installation reference."),
    "E16004": ("ONNX model has no graph.",
               "Invalid ONNX model. Modify the ONNX model and add the graph information."),
    "E16005": ("The model has {count} --domain_version fields, but only one is allowed.",
               "Modify the ONNX model so that its opset_import names one domain."),
    "E20001": ("Failed to compile Op {opname}. (optype: {optype})",
               "For a custom operator, check the operator implementation and arguments based on the error log."),
}


@dataclass
class AtcError(Exception):
    """A run that failed: the code, the values of its text, and frames for the TraceBack.

    Written as the real tool writes it: `E10016: [PID: 7] 2025-06-16-13:02:36.801.136 Opname ...`, then indented lines.
    """

    code: str
    values: dict
    trace: tuple[str, ...] = ()

    def block(self) -> str:
        """Return the text that follows the `ATC run failed` line."""
        text, solution = TEMPLATES[self.code]
        now = datetime.now()
        stamp = f"{now:%Y-%m-%d-%H:%M:%S}.{now.microsecond // 1000:03}.{now.microsecond % 1000:03}"
        lines = [f"{self.code}: [PID: {os.getpid()}] {stamp} {text.format(**self.values)}"]
        if solution:
            lines.append(f"        Solution: {solution}")
        if self.trace:
            lines += ["        TraceBack (most recent call last):", *(f"        {frame}" for frame in self.trace)]
        return "\n".join(lines) + "\n"


def fail(code: str, *trace: str, **values) -> AtcError:
    """Return the error to raise; `values` are the template's fields, `trace` more lines for whoever reads on."""
    return AtcError(code, values, trace)


UNKNOWN_ERROR = "E19999: Internal Error!\n        An unknown error occurred. Please check the log.\n"
