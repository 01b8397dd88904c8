"""The law of a pass: it works on a copy, says what it changed, fails where it finds nothing, and leaves a valid graph.

A pass is one file with one public function under @graph_pass. The function rewrites the model it is given and returns
one sentence with counts; it raises JobFailed, in one sentence, where it does not find what it is there to rewrite:
a rewrite that is missed silently is a wrong result here, not a missed optimisation.

Source  the contract of onnx_ir's passes (onnx/ir-py, passes/_pass_infra.py), made stricter
"""
import functools
from collections.abc import Callable, Iterable

import onnx_ir as ir
import onnx_ir.passes.common as common

from npukit.errors import JobFailed, NpukitError
from npukit.graph.onnxfile import agrees, name_of, signature

Pass = Callable[..., tuple[ir.Model, str]]

OPSETS = range(11, 14)  # what every CANN version converts
# Operators that ATC has no parser for, whatever the opset.
REFUSED = {"Loop", "Scan", "Optional", "OptionalGetElement", "OptionalHasElement", "SplitToSequence",
           "ConcatFromSequence",
           "SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength",
           "SequenceMap"}


def graph_pass(rewrite: Callable[..., str]) -> Pass:
    """Make a pass of a function that rewrites an onnx_ir model in place and returns what it changed.

    The pass takes the model and the function's options, and returns (new model, sentence). The model it was given is
    untouched; weights are shared between the two, not copied. What the function sees is tidy, see `tidied`.
    raises  whatever the function raises, with the names of the pass and the model; JobFailed where the rewritten graph
            breaks a rule of `check` or has other inputs or outputs than before
    """
    @functools.wraps(rewrite)
    def on_a_copy(model: ir.Model, **options) -> tuple[ir.Model, str]:
        copy = tidied(model)
        try:
            said = rewrite(copy, **options)
            renew_shapes(copy)
            check(copy)
            require_same_signature(model, copy)
        except NpukitError as error:
            raise type(error)(f"pass {rewrite.__name__} on {name_of(model)}: {error}") from error
        return copy, f"{rewrite.__name__}: {said}"
    return on_a_copy


def require_same_signature(before: ir.Model, after: ir.Model) -> None:
    """Raise JobFailed where inputs or outputs differ; shape inference may find numbers for an output's symbolic dims."""
    old, new = signature(before.graph.inputs), signature(after.graph.inputs)
    if list(old.items()) == list(new.items()):
        old, new = signature(before.graph.outputs), signature(after.graph.outputs)
        if agrees(new, old):
            return
    raise JobFailed(f"inputs or outputs were {old} and would become {new}")


def apply(model: ir.Model, passes: Iterable[Pass]) -> tuple[ir.Model, list[str]]:
    """Apply passes in order; return the new model and what each changed. The model given is untouched."""
    said = []
    for one in passes:
        model, sentence = one(model)
        said.append(sentence)
    return model, said


def tidied(model: ir.Model) -> ir.Model:
    """Return a copy with constants as initialisers, without Identity and without what nothing reads."""
    copy = model.clone()
    copy.meta.update(model.meta)
    for node in copy.graph:
        if node.op_type == "Constant" and "value" in node.attributes:  # its tensor is shared, and gets a name when it is lifted
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(node.attributes["value"].as_tensor().numpy()))
    common.IdentityEliminationPass()(copy)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(copy)
    common.RemoveUnusedNodesPass()(copy)
    return copy


def renew_shapes(model: ir.Model) -> None:
    """Sort the nodes, drop what nothing reads, and infer anew the shapes of all that is neither input nor output."""
    common.RemoveUnusedNodesPass()(model)
    model.graph.sort()
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    common.ShapeInferencePass(strict_mode=False)(model)


def check(model: ir.Model) -> None:
    """Check what ATC needs of any graph.

    raises  JobFailed where there is an opset domain besides ONNX's own, an opset out of 11..13, an operator that ATC
            cannot parse, or the ONNX checker finds the graph invalid (shapes inferred, weights left aside)
    """
    domains = {domain for domain in model.opset_imports} | {node.domain for node in model.graph}
    if extra := domains - {""}:
        raise JobFailed(f"{name_of(model)} has the opset domain {', '.join(sorted(extra))} beside ONNX's; ATC takes one (E16005)")
    if (opset := model.opset_imports.get("")) not in OPSETS:
        raise JobFailed(f"{name_of(model)} is of opset {opset}; ATC is sure of {OPSETS[0]} to {OPSETS[-1]}")
    if refused := sorted({node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph)} & REFUSED):
        raise JobFailed(f"{name_of(model)} has {', '.join(refused)}, for which ATC has no parser (E16002)")
    try:
        common.CheckerPass(full_check=True)(model)
    except Exception as error:  # the checker's families: onnx.checker.ValidationError, shape_inference.InferenceError
        raise JobFailed(f"{name_of(model)} is no valid ONNX graph: {' '.join(str(error).split())}") from error
