"""Shape operands for Reshape and Expand, of the batch N and the length L of a graph: constants as far as may be."""
import numpy as np
import onnx_ir as ir

from npukit.graph.blocks import Mismatch
from npukit.graph.onnxfile import add_node, initializer


class Shapes:
    """Shape tensors, int64 [rank], of a graph whose inputs are all [N, L].

    raises  Mismatch where the inputs are of another rank or differ in their dimensions
    """

    def __init__(self, graph: ir.Graph):
        found = {tuple(value.shape) for value in graph.inputs}
        if len(found) != 1 or len(dims := found.pop()) != 2:
            raise Mismatch(f"the inputs are {[f'{i.name} {i.shape}' for i in graph.inputs]}, expected [N, L] of all")
        self.graph, self.source = graph, graph.inputs[0]
        self.size = {letter: dim if isinstance(dim, int) else None for letter, dim in zip("NL", dims)}
        self.computed: dict[tuple, ir.Value] = {}

    @property
    def kind(self) -> str:
        """What the shapes are, in words."""
        return f"computed from {self.source.name}" if self.computed else "constant"

    def reshape(self, *dims: int | str) -> ir.Value:
        """Return the shape operand of a Reshape to these dims: numbers, -1 at most once, and the letters N and L."""
        sizes = [self.size.get(dim, dim) for dim in dims]
        if sizes.count(None) > 1:
            return self.compute(dims)
        return self.constant([-1 if size is None else size for size in sizes])

    def square(self) -> ir.Value:
        """Return the shape operand of an Expand of [N, 1, 1, L] to [N, 1, L, L]; an open N is 1, which keeps it."""
        batch, length = self.size["N"], self.size["L"]
        return self.compute(("N", 1, "L", "L")) if length is None else self.constant([batch or 1, 1, length, length])

    def constant(self, sizes: list[int]) -> ir.Value:
        name = "shape_" + "_".join(str(size).replace("-1", "rest") for size in sizes)
        return initializer(self.graph, name, np.array(sizes, np.int64))

    def compute(self, dims: tuple[int | str, ...]) -> ir.Value:
        """Return the concatenation of open dims, taken from the first input's shape, and numbers; made once."""
        if dims not in self.computed:
            sizes = [self.size.get(dim, dim) for dim in dims]
            parts = [self.open(dim) if size is None else self.constant([size]) for dim, size in zip(dims, sizes)]
            self.computed[dims] = add_node(self.graph, f"shape_{'_'.join(map(str, dims))}", "Concat", *parts, axis=0)
        return self.computed[dims]

    def open(self, letter: str) -> ir.Value:
        """Return N or L as int64 [1]."""
        if (letter,) not in self.computed:
            if () not in self.computed:
                self.computed[()] = add_node(self.graph, "shape_of_input", "Shape", self.source)
            index = initializer(self.graph, f"axis_of_{letter}", np.array(["NL".index(letter)], np.int64))
            self.computed[(letter,)] = add_node(self.graph, f"shape_{letter}", "Gather", self.computed[()], index,
                                                axis=0)
        return self.computed[(letter,)]
