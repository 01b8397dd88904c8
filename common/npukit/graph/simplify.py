"""onnxsim: constants folded and shapes fixed, the operators left as the exporter wrote them."""
from pathlib import Path

import numpy as np
import onnx_ir as ir

from npukit.errors import JobFailed, UserError
from npukit.files import aside
from npukit.graph.law import check, renew_shapes, tidied
from npukit.graph.onnxfile import agrees, load, name_of, save, signature
from npukit.graph.proof import prove

Inside = np.ndarray | None
Shapes = dict[str, list[int | str]]  # input -> its dims; a name stays symbolic, for gears
LARGE = 2**19  # elements; the position embeddings, which are folded, are smaller, a layer's matrices larger


def simplify(path_in: Path, path_out: Path, shapes: Shapes, feeds: dict[str, np.ndarray],
             inside: Inside = None) -> dict:
    """Fix the input shapes, fold what is constant then, and prove that the answers are the same; return the proof.

    shapes  of every input, {"input_ids": [8, 128]}; a name instead of a number leaves that dimension open
    feeds   samples of such a length, any number of them; `inside` as for npukit.graph.prove
    Writes  path_out, only if everything holds
    raises  UserError where the shapes do not fit the inputs; JobFailed where onnxsim fails, an input or output has
            another name, dtype or rank than before or not the dims that were asked for, or the answers changed

    Only onnxsim's folding is used. Its optimisers fuse MatMul and Add into Gemm and drop a LayerNorm's Mul where the
    weights are ones, and the canonical attention that ATC's big kernels match (npukit.graph.big_kernel) is made of both.
    """
    model = load(path_in)
    inputs, outputs = signature(model.graph.inputs), signature(model.graph.outputs)
    require_fit(inputs, shapes, path_in)
    model = folded(tidied(model), shapes)
    check_signature(model, inputs, outputs, shapes)
    check(model)
    with aside(path_out) as new:
        save(model, new)
        return prove(path_in, new, feeds, "onnxsim", inside)


def require_fit(inputs: dict, shapes: Shapes, path: Path) -> None:
    """Refuse shapes for other inputs than the model's, of another rank, or against a dimension that is fixed already."""
    if set(shapes) != set(inputs):
        raise UserError(f"{path} has the inputs {', '.join(inputs)}; shapes are given for {', '.join(shapes) or 'none'}")
    for name, (_, dims) in inputs.items():
        fits = len(dims) == len(shapes[name]) and all(isinstance(d, str) or d == s for d, s in zip(dims, shapes[name]))
        if not fits:
            raise UserError(f"{path}: input {name} is {list(dims)}; {list(shapes[name])} is asked for")


def folded(model: ir.Model, shapes: Shapes) -> ir.Model:
    """Return what onnxsim makes of the model with these input shapes; the model given is used up.

    Its large weights stay here meanwhile and stand as inputs: onnxsim would copy them half a dozen times, and none is
    part of anything constant.
    """
    import onnxsim  # seconds to load, and no other module needs it

    name, graph = name_of(model), model.graph
    for value in graph.inputs:
        value.shape = ir.Shape(shapes[value.name])
    weights = {value.name: value.const_value for value in graph.initializers.values() if value.const_value.size > LARGE}
    for weight in weights:
        graph.inputs.append(graph.initializers.pop(weight))
        graph.inputs[-1].const_value = None
    renew_shapes(model)  # what is known from the old shapes must go
    try:
        simple, valid = onnxsim.simplify(ir.to_proto(model), perform_optimization=False, certify=False)
    except Exception as error:  # a C++ library: RuntimeError, ValueError and the checker's own
        raise JobFailed(f"onnxsim failed on {name}: {' '.join(str(error).split()) or type(error).__name__}") from error
    if not valid:
        raise JobFailed(f"onnxsim made a graph of {name} that it does not trust itself")
    simple = ir.from_proto(simple)
    for value in [value for value in simple.graph.inputs if value.name in weights]:
        simple.graph.inputs.remove(value)
        value.const_value = weights[value.name]
        simple.graph.register_initializer(value)
    simple = tidied(simple)
    simple.meta["path"] = name
    renew_shapes(simple)
    return simple


def check_signature(model: ir.Model, inputs: dict, outputs: dict, shapes: Shapes) -> None:
    """Raise JobFailed where names, order, dtypes or ranks moved, an input is not as asked, or an output is not fixed.

    An output has to be fixed only where all inputs are.
    """
    for values, old in ((model.graph.inputs, inputs), (model.graph.outputs, outputs)):
        if not agrees(new := signature(values), old):
            raise JobFailed(f"onnxsim changed inputs or outputs of {name_of(model)} from {old} to {new}")
    for name, (_, dims) in signature(model.graph.inputs).items():
        if list(dims) != list(shapes[name]):
            raise JobFailed(f"input {name} of {name_of(model)} is {list(dims)} after onnxsim, {list(shapes[name])} was asked for")
    if all(isinstance(dim, int) for dims in shapes.values() for dim in dims):
        for name, (_, dims) in signature(model.graph.outputs).items():
            if not all(isinstance(dim, int) for dim in dims):
                raise JobFailed(f"output {name} of {name_of(model)} is {list(dims)} after onnxsim, though every input is fixed")
