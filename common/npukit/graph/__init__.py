"""Surgery on ONNX graphs: passes that say what they changed, and proof that the answers did not change.

    model, said = apply(load(path), [clamp_mask, additive_mask, big_kernel])
    save(model, new)
    closeness = prove(path, new, feeds, "graph surgery")

law         what a pass owes its caller; apply, check
onnxfile    load, save, signature
proof       prove: two graphs on the same samples
simplify    onnxsim, shapes fixed, answers proved

One pass a file, in the order they are applied:
clamp_mask        mask constants that half precision can hold
additive_mask     the mask as (1 - mask) * constant, whatever the exporter made of it
big_kernel        the attention form that ATC fuses; blocks reads any BERT, canonical checks the form, shapes makes operands
int32_constants   int64 constants where ONNX allows int32
"""
from npukit.graph.additive_mask import additive_mask
from npukit.graph.big_kernel import big_kernel
from npukit.graph.canonical import assert_canonical
from npukit.graph.clamp_mask import clamp_mask
from npukit.graph.int32_constants import int32_constants
from npukit.graph.law import apply, check, graph_pass
from npukit.graph.onnxfile import load, save, signature
from npukit.graph.proof import prove
from npukit.graph.simplify import simplify

__all__ = ["additive_mask", "apply", "assert_canonical", "big_kernel", "check", "clamp_mask", "graph_pass",
           "int32_constants",
           "load", "prove", "save", "signature", "simplify"]
