"""modify_onnx.py GRAPH EDITED: give the graph another name; the smallest edit that can be seen."""
import sys

import onnx
import toy

from npukit import command


def main() -> None:
    graph, edited = sys.argv[1:]
    model = onnx.load(graph)
    model.graph.name = "edited"
    onnx.save(model, edited)
    toy.linger("modify_onnx")


if __name__ == "__main__":
    command.run(main)
