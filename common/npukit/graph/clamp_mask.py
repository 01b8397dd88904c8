"""Pass clamp_mask: attention-mask constants that half precision can hold.

Exporters write the mask as the smallest float32, -3.4e38, or as -inf: selected by a Where, or multiplied by (1 - mask),
and added to the scores in front of a Softmax. Half precision ends at -65504: the constant becomes -inf there, and
0 * -inf and the Softmax of a row of -inf become NaN. -10000 is far enough below any score that its exponential is 0 in
either precision. In a row that is masked altogether the scores now decide, where they were drowned before.

Source  ascend_toolchain.md 1.4: fp16 is ATC's default; the cure of bert_large_NER in ModelZoo-PyTorch, which finds its
        Mul by counting 24 readers. Here the constant is found by where it flows
"""
import numpy as np
import onnx_ir as ir

from npukit.errors import JobFailed
from npukit.graph.law import graph_pass
from npukit.graph.onnxfile import HALF_LOWEST, initializer

# On the way from the constant to the Softmax: what moves, selects, scales and adds it.
CARRIERS = {"Where", "Mul", "Add", "Sub", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Cast",
            "Concat",
            "Tile", "Min", "Max"}


@graph_pass
def clamp_mask(model: ir.Model, value: float = -10000.0) -> str:
    """Raise float constants below -65504 to `value` wherever they flow into a Softmax.

    Elements above stay as they are, and so do other readers of the same constant. Equal in fp32 for every row that
    has a token which is not masked.
    raises  JobFailed where there is no such constant
    """
    low = [constant for constant in model.graph.initializers.values() if is_low(constant)]
    uses = {constant: [use for use in constant.uses() if reaches_softmax(use.node)] for constant in low}
    masks = [constant for constant in low if uses[constant]]
    if not masks:
        softmaxes = sum(node.op_type == "Softmax" for node in model.graph)
        raise JobFailed(f"no float constant below {HALF_LOWEST:g} flows into a Softmax; "
                        f"the graph has {len(low)} such constant(s) and {softmaxes} Softmax")
    for constant in masks:
        array = constant.const_value.numpy()
        clamped = initializer(model.graph, f"{constant.name}_clamped",
                              np.where(array < HALF_LOWEST, np.float32(value), array))
        for use in uses[constant]:
            use.node.replace_input_with(use.idx, clamped)
    lowest = min(float(constant.const_value.numpy().min()) for constant in masks)
    return (f"{len(masks)} mask constant(s), down to {lowest:g}, became {value:g} "
            f"in {sum(len(uses[constant]) for constant in masks)} place(s)")


def is_low(constant: ir.Value) -> bool:
    """Tell whether a float32 constant has elements below what half precision can hold."""
    tensor = constant.const_value
    return tensor.dtype == ir.DataType.FLOAT and bool((tensor.numpy() < HALF_LOWEST).any())


def reaches_softmax(node: ir.Node) -> bool:
    """Tell whether what this node makes of the constant arrives in a Softmax, carried and added to but not computed with."""
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if node.op_type == "Softmax":
            return True
        if node.op_type in CARRIERS and node not in seen:
            seen.add(node)
            todo += [use.node for output in node.outputs for use in output.uses()]
    return False
