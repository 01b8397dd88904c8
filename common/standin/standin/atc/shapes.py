"""--input_shape and the options that make it dynamic: which axes are fixed, and which gears the others have.

Source: hicann/ge, compiler/api/aclgrph/option_utils.cc.
"""
from __future__ import annotations

import math
import re
from dataclasses import dataclass

from standin.atc.errors import fail

MIN_GEARS = 2
MAX_GEARS = 100  # the documented limit for the 310P
SAMPLE = '"input_name1:n1,c1,h1,w1"'
SAMPLE_VALUES = '"input_name1:1,3,224,224"'
RANGE_SAMPLE = '"input_name1:[n1~n2,c1,h1,w1]"'
RANGES_SAMPLE = '"[1~20,3,3~6,-1]"'
NUMBER_OF_GEARS = "Each setting needs to be consistent with the number of -1 in the input shape."


@dataclass(frozen=True)
class Shapes:
    """What the command line says of the inputs' shapes.

    named   input name -> dims, -1 for a dynamic axis, in the order of the command line
    listed  the same without names, for inputs in graph order ("1,2;3,4~7")
    mode    static, dynamic_batch, dynamic_dims or dynamic_shape
    gears   the values of the -1s, one tuple a gear
    """

    named: dict[str, tuple[int, ...]]
    listed: tuple[tuple[int, ...], ...] = ()
    mode: str = "static"
    gears: tuple[tuple[int, ...], ...] = ()


def read(options: dict[str, str]) -> Shapes:
    """Return the shapes that these options ask for, or raise AtcError."""
    exclusive = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range")
    given = [name for name in exclusive if options[name]]
    if len(given) > 1:
        raise fail("E10009")
    text, ranges = options["input_shape"], options["input_shape_range"]
    if ranges:
        return with_ranges(dict(range_of_input(item) for item in items(ranges)))
    if given:
        if "~" in text:
            raise fail("E10040")
        if not text:
            raise fail("E10004", parameter="input_shape")
        return {"dynamic_batch_size": dynamic_batch, "dynamic_dims": dynamic_dims,
                "dynamic_image_size": dynamic_image}[given[0]](text, options[given[0]])
    if "~" in text or "-1" in text:
        listed = ":" not in text
        return with_ranges({} if listed else dict(named_ranges(item) for item in items(text)),
                           tuple(dims_of_ranges(item) for item in items(text)) if listed else ())
    return Shapes(parse(text, dynamic=False))


def with_ranges(named: dict[str, tuple[int, ...]], listed: tuple[tuple[int, ...], ...] = ()) -> Shapes:
    """Return the shapes as true dynamic ones, or as static ones if every range allows one size only."""
    dynamic = any(-1 in dims for dims in (*named.values(), *listed))
    return Shapes(named, listed, "dynamic_shape" if dynamic else "static")


def items(text: str) -> list[str]:
    """Split at semicolons; one at the end is allowed."""
    return text.removesuffix(";").split(";") if text else []


def parse(text: str, dynamic: bool) -> dict[str, tuple[int, ...]]:
    """Read "name:1,2;name2:3"; a name may hold colons, a scalar has nothing after its colon."""
    shapes = {}
    for item in items(text):
        name, colon, dims = item.rpartition(":")
        if not colon:
            raise fail("E10002", shape=item, sample=SAMPLE,
                       reason="The shape must contain two parts: name and value")
        shapes[name.strip()] = tuple(dimension(word, item, dynamic) for word in dims.split(",")) if dims else ()
    return shapes


def dimension(word: str, item: str, dynamic: bool) -> int:
    """Read one number of a shape; `item` is the shape it stands in, for the message."""
    if "." in word:
        raise fail("E10002", shape=item, reason="The float number is unsupported", sample=SAMPLE_VALUES)
    if not re.match(r"\s*[+-]?\d", word):
        raise fail("E10014", value=word, parameter="input_shape")
    if not re.fullmatch(r"-?\d+", word.strip()):
        raise fail("E10002", shape=item, reason="It is not a digit", sample=SAMPLE_VALUES)
    value = int(word)
    if abs(value) >= 2**63:
        raise fail("E10013", value=word, parameter="input_shape")
    if value <= 0 and not (dynamic and value == -1):
        raise fail("E10011", shape=item, value=value)
    return value


def dynamic_batch(text: str, sizes: str) -> Shapes:
    """Read --dynamic_batch_size="1,2,4": only the leading axis may be -1."""
    shapes = parse(text, dynamic=True)
    for name, dims in shapes.items():
        if not dims:
            raise fail("E10012")
        if -1 in dims[1:]:
            raise fail("E10018", value=-1, index=f"{name}:{','.join(map(str, dims))}")
    with_batch = sum(dims[0] == -1 for dims in shapes.values())
    if not with_batch:
        raise fail("E10031")
    if not re.fullmatch(r"[\d,]+", sizes):
        raise fail("E10003", value=sizes, parameter="dynamic_batch_size", reason='It can only contain digits and ",".')
    batches = [int(size) for size in sizes.removesuffix(",").split(",") if size]
    gears = check_gears([(batch,) for batch in batches])
    return Shapes(shapes, mode="dynamic_batch", gears=tuple(gear * with_batch for gear in gears))


def dynamic_dims(text: str, settings: str) -> Shapes:
    """Read --dynamic_dims="64,64;128,128": each gear has as many numbers as --input_shape has -1s."""
    shapes = parse(text, dynamic=True)
    dynamic_axes = sum(dims.count(-1) for dims in shapes.values())
    if not dynamic_axes:
        raise fail("E10001", parameter="--input_shape's dynamic dim num", value=0,
                   reason="At least one dim should be -1 when dynamic_dims is set.")
    if settings == ";":
        raise fail("E10058", parameter="--dynamic_dims")
    gears = []
    for setting in items(settings):
        words = setting.split(",")
        if len(words) != dynamic_axes:
            raise fail("E10003", parameter="dynamic_dims", value=settings.removesuffix(";"), reason=NUMBER_OF_GEARS)
        for word in words:
            if not word.isdigit():
                raise fail("E10001", parameter="--dynamic_dims", value=word,
                           reason="Dynamic dims must be a positive integer.")
        gears.append(tuple(int(word) for word in words))
    return Shapes(shapes, mode="dynamic_dims", gears=tuple(check_gears(gears)))


def dynamic_image(text: str, sizes: str) -> Shapes:
    """Refuse --dynamic_image_size: no text model has an image, so the stand-in has no such gears."""
    raise fail("E10055", reason=f"the npukit stand-in has no image gears (--dynamic_image_size={sizes}); "
                                "use --dynamic_dims")


def check_gears(gears: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Refuse too few or too many gears, one given twice, and sizes that are not positive."""
    if len(gears) < MIN_GEARS:
        raise fail("E10035", count=len(gears), limit=MIN_GEARS)
    if len(gears) > MAX_GEARS:
        raise fail("E10036", count=len(gears), limit=MAX_GEARS)
    for gear in gears:
        for size in gear:
            if size <= 0:
                raise fail("E10038", dim=size)
    if len(set(gears)) != len(gears):
        raise fail("E10039")
    return gears


def named_ranges(item: str) -> tuple[str, tuple[int, ...]]:
    """Read "name:1~8,3,-1" into the name and its dims."""
    name, colon, dims = item.rpartition(":")
    if not colon:
        raise fail("E10002", shape=item, sample=SAMPLE, reason="The shape must contain two parts: name and value")
    if not name:
        raise fail("E10002", shape=item, sample=SAMPLE, reason="The input name is empty")
    return name.strip(), dims_of_ranges(dims)


def range_of_input(item: str) -> tuple[str, tuple[int, ...]]:
    """Read "name:[1~8,3,-1]" of --input_shape_range."""
    name, colon, dims = item.rpartition(":")
    if not colon:
        raise fail("E10048", value=item, sample=RANGE_SAMPLE,
                   reason="The shape must contain two parts: name and value")
    if not re.fullmatch(r"\[[^][]*\]", dims):
        raise fail("E10048", value=dims, sample=RANGE_SAMPLE, reason="The value can only contains a pair of '[]'")
    return name.strip(), dims_of_ranges(dims[1:-1])


def dims_of_ranges(text: str) -> tuple[int, ...]:
    """Read "1~8,3,-1" as (-1, 3, -1): an axis with a range is dynamic."""
    if re.search(r"[^\d ,~-]", text):
        raise fail("E10002", shape=text, sample=SAMPLE, reason="The shape must contain two parts: name and value")
    return tuple(range_of_axis(word.strip(), text) for word in text.split(",")) if text else ()


def range_of_axis(word: str, text: str) -> int:
    """Return the one size that a range allows, or -1."""
    if re.fullmatch(r"-1|0*[1-9]\d*", word):
        return int(word)
    bounds = re.fullmatch(r"(\d+)~(-1|\d+)", word)
    if not bounds:
        raise fail("E10048", value=text, reason="The format of the shape range is invalid", sample=RANGES_SAMPLE)
    low, high = int(bounds[1]), math.inf if bounds[2] == "-1" else int(bounds[2])
    if low > high or high == 0:
        raise fail("E10048", value=text, reason="The format of the shape range is invalid", sample=RANGES_SAMPLE)
    return low if low == high else -1
