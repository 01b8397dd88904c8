"""The mask constant in a TorchScript archive: found by where it flows, replaced in the archive's own code, looked at again.

A trace is a zip archive of tensors and of code, one Python-like file a module. The attention mask is made there of a constant
that half precision cannot hold, selected (torch.where) or multiplied, as a literal or as CONSTANTS.cN, and added to the scores in
front of every softmax. The original has its reader open the archive, edit line 36 of one file, and zip it again.
"""
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from npukit.errors import JobFailed
from npukit.files import aside

HALF_LOWEST = -65504.0  # of what half precision can hold
NUMBER = r"-(?:\d[\d.]*(?:e\+?\d+)?|inf)"  # a negative one, as TorchScript writes it
# On the way from the constant to the softmax: what moves, selects, scales and adds it.
CARRIERS = {f"aten::{name}" for name in (
    "where", "mul", "add", "sub", "rsub", "masked_fill", "full", "full_like", "scalar_tensor", "to", "expand",
    "expand_as", "unsqueeze",
    "view", "reshape", "slice", "detach", "contiguous", "clone", "type_as", "max", "maximum",
    "_softmax")} | {"prim::NumToTensor"}


@dataclass(frozen=True)
class Use:
    """Where a constant below half precision is first used on its way to a softmax: the code's file and line, and its value.

    A number stands in the line itself, a tensor in the archive's constants, as CONSTANTS.cN.
    """

    file: str
    line: int
    value: float
    is_tensor: bool


def mask_constants(module: torch.jit.ScriptModule) -> list[Use]:
    """Return every use of a constant below -65504 that flows into a softmax."""
    found, graph = set(), module.inlined_graph  # whose nodes are gone when it is
    for node in graph.findAllNodes("prim::Constant"):
        constant = node.output().toIValue()
        value = lowest(constant)
        if value is not None and value < HALF_LOWEST:
            found |= {Use(*place_of(use.user), value, isinstance(constant, torch.Tensor))
                      for use in node.output().uses() if reaches_softmax(use.user)}
    return sorted(found, key=lambda use: (use.file, use.line))


def lowest(value) -> float | None:
    """Return the smallest number of a float constant, scalar or tensor."""
    if isinstance(value, torch.Tensor):
        return float(value.min()) if value.is_floating_point() and value.numel() else None
    return value if isinstance(value, float) else None


def reaches_softmax(node) -> bool:
    """Tell whether what a node makes arrives in a softmax, carried and added to but not computed with."""
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if node.kind() == "aten::softmax":
            return True
        for output in node.outputs() if node.kind() in CARRIERS else ():
            if output.debugName() not in seen:
                seen.add(output.debugName())
                todo += [use.user for use in output.uses()]
    return False


def place_of(node) -> tuple[str, int]:
    """Return the file in the archive and the line that a node was read from."""
    match = re.search(r'Serialized\s+File "([^"]+)", line (\d+)', node.sourceRange()) or \
        re.search(r'File "(code/[^"]+)", line (\d+)', node.sourceRange())
    if match is None:
        raise JobFailed(f"the trace does not say where {node.kind()} stands in its code")
    return match[1], int(match[2])


def patch_mask(path: Path, value: float) -> list[str]:
    """Replace the mask constants of a trace by `value`, in its place; return a sentence for each.

    raises  JobFailed where there is none, its line in the code does not hold it, or the archive that was packed again does
            not load or still has one
    """
    uses = mask_constants(load(path))
    if not uses:
        raise JobFailed(f"{path}: no constant below {HALF_LOWEST:g} flows into a softmax; there is nothing to patch")
    with aside(path) as new:
        with zipfile.ZipFile(path) as before, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as after:
            for entry in before.infolist():
                repack(before, after, entry, [use for use in uses if entry.filename.endswith(f"/{use.file}")], value)
        if left := mask_constants(load(new)):
            raise JobFailed(f"{path}: after the patch {left[0].file}:{left[0].line} still masks with {left[0].value:g}")
    return [f"{use.file}:{use.line}: the mask constant {use.value:g} became {value:g}" for use in uses]


def load(path: Path) -> torch.jit.ScriptModule:
    """Return a trace, on the CPU; raise JobFailed for what is none."""
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise JobFailed(f"{path} is no TorchScript archive: {' '.join(str(error).split())[:200]}") from None


def repack(before: zipfile.ZipFile, after: zipfile.ZipFile, entry: zipfile.ZipInfo, uses: list[Use],
           value: float) -> None:
    """Copy one entry, tensors piece by piece, with these constants replaced in its code."""
    plain = zipfile.ZipInfo(entry.filename)  # stored, as PyTorch stores its tensors
    if not uses:
        with before.open(entry) as source, after.open(plain, "w", force_zip64=True) as target:
            while piece := source.read(1 << 20):
                target.write(piece)
        return
    lines = before.read(entry).decode("utf-8").split("\n")
    for use in uses:
        lines[use.line - 1] = replaced(lines[use.line - 1], use, value)
    after.writestr(plain, "\n".join(lines))


def replaced(line: str, use: Use, value: float) -> str:
    """Return a line of code with another number in place of the constant; raise JobFailed where it does not hold just one."""
    spelled = r"CONSTANTS\.c\d+" if use.is_tensor else NUMBER
    found = [match for match in re.finditer(rf"(?<=[ (,]){spelled}(?=[,)])", line) if use.is_tensor
             or float(match[0]) == use.value]
    if len(found) != 1:
        raise JobFailed(f"{use.file}:{use.line} is to hold the constant {use.value:g} once, found {len(found)}: {line.strip()}")
    return f"{line[:found[0].start()]}{float(value)!r}{line[found[0].end():]}"
