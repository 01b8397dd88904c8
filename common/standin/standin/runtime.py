"""An .om at work on ONNX Runtime: devices, shapes and gears, one execution after another, and measured times."""
import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from standin import fp16, om
from standin.cpus import granted_cpus
from standin.messages import WARN, ToolError, logger

DEFAULT_SOC = "Ascend310P3"
CPU_SOC = "cpu"  # what atc writes for models that are meant for the stand-in alone
ORT_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph, ort_errors.RuntimeException)
GENERAL_FAILURE = "[-1][ACL: general failure]"


class DeviceError(ToolError):
    """No such device, or it cannot be opened: the infrastructure's fault, not the job's."""


@dataclass
class CopyTimes:
    """Milliseconds of each copy to and from the device, over all models of this process."""

    h2d_ms: list[float] = field(default_factory=list)
    d2h_ms: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self.h2d_ms.clear()
        self.d2h_ms.clear()


copies = CopyTimes()


def open_device(device: int) -> None:
    """Open a device of the stand-in; raise DeviceError as the runtime does.

    NPUKIT_STANDIN_DEVICES (default 4) says how many there are; NPUKIT_STANDIN_FAULT=507033,... makes opening fail.
    """
    count = int(os.environ.get("NPUKIT_STANDIN_DEVICES", "4"))
    fault = os.environ.get("NPUKIT_STANDIN_FAULT", "").split(",")[0].strip()
    if not 0 <= device < count:
        fault = "107001"
        logger.error("EE1001: set device %d error, input data rang[0-%d)", device, count)
    if fault:
        logger.error("open device %d failed, runtime result = %s", device, fault)
        logger.error("acl open device %d failed", device)
        raise DeviceError(f"SetDevice failed.ret={fault}: device {device} cannot be opened")


def host_to_device(array: np.ndarray) -> np.ndarray:
    """A contiguous copy of the array, timed."""
    start = time.perf_counter()
    copy = np.array(array, order="C", copy=True)
    copies.h2d_ms.append(1000 * (time.perf_counter() - start))
    return copy


def device_to_host(array: np.ndarray) -> np.ndarray:
    """A contiguous copy of the array, timed."""
    start = time.perf_counter()
    copy = np.array(array, order="C", copy=True)
    copies.d2h_ms.append(1000 * (time.perf_counter() - start))
    return copy


class Model:
    """A loaded .om; arrays go in and come out in the model's order.

    shapes         the inputs' shapes for the next execution; a -1 is left where no gear was set yet
    exec_times     (start, end) of each execution in milliseconds of time.perf_counter
    outsizes       the most bytes an output of a dynamic_shape model may take, or None
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        self.path = path
        try:
            self.om = om.read(path)
        except (om.OmError, OSError) as error:
            raise _load_failure(path, str(error)) from None
        _check_soc(path, self.om.soc_version)
        options = fp16.session_options_for(self.om.precision)
        options.intra_op_num_threads = threads or granted_cpus()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(self.om.graph, options, ["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise _load_failure(path, f"ONNX Runtime refuses the graph of {path}: {error}") from None
        self.om = dataclasses.replace(self.om,
                                      graph=b"")  # the engine has its own copy, and the session need not hold this one
        self._session._model_bytes = None
        self.exec_times: list[tuple[float, float]] = []
        self.outsizes: list[int] | None = None
        self.gear: tuple[int, ...] | None = None
        self.shapes: list[tuple[int, ...]] = []
        self.set_static()

    @property
    def inputs(self) -> tuple[om.Tensor, ...]:
        return self.om.inputs

    @property
    def outputs(self) -> tuple[om.Tensor, ...]:
        return self.om.outputs

    def input_bytes(self, index: int) -> int:
        """Bytes that input `index` takes with the shapes of now; 0 while a dimension is open."""
        return nbytes(self.shapes[index], self.inputs[index].dtype)

    def set_static(self) -> None:
        """The shapes as compiled."""
        self.gear = None
        self.shapes = [tensor.shape for tensor in self.inputs]

    def set_batch(self, batch: int) -> None:
        """Set the batch of a dynamic_batch model to one of its gears."""
        self._need("dynamic_batch", "--dymBatch")
        gears = [gear[0] for gear in self.om.gears]
        if batch not in gears:
            raise _refused(f"batch size {batch} was not compiled into {self.path}: it has {gears}")
        self.gear = self.om.gears[gears.index(batch)]
        self.shapes = [tuple(batch if n == -1 else n for n in tensor.shape) for tensor in self.inputs]

    def set_dims(self, dims: str) -> None:
        """Set all inputs' shapes, `name:d,d;name2:d,d`, to one of the gears of a dynamic_dims model."""
        self._need("dynamic_dims", "--dymDims")
        shapes = self._parse(dims)
        gear = tuple(
            n for tensor, shape in zip(self.inputs, shapes) for n, fixed in zip(shape, tensor.shape) if fixed == -1
        )
        if gear not in self.om.gears:
            gears = "; ".join(",".join(map(str, each)) for each in self.om.gears)
            raise _refused(f"the dims {dims} are no gear of {self.path}: its -1s may be {gears}")
        self.gear, self.shapes = gear, shapes

    def set_shape(self, shape: str) -> None:
        """Set all inputs' shapes, `name:d,d;name2:d,d`, of a dynamic_shape model."""
        self._need("dynamic_shape", "--dymShape")
        self.shapes = self._parse(shape)

    def shapes_text(self, shapes: Sequence[Sequence[int]]) -> str:
        """The inputs' shapes as set_dims and set_shape take them: name:d,d;name2:d,d."""
        return ";".join(f"{it.name}:{','.join(map(str, shape))}" for it, shape in zip(self.inputs, shapes))

    def set_outsizes(self, sizes: Sequence[int]) -> None:
        """The most bytes that each output of a dynamic_shape model may take."""
        if len(sizes) != len(self.outputs):
            raise _refused(f"{self.path} has {len(self.outputs)} outputs, {len(sizes)} output sizes were given")
        self.outsizes = list(sizes)

    def check(self, sizes: Sequence[int]) -> None:
        """Raise unless the inputs' sizes in bytes are what the next execution needs."""
        if self.om.gears and self.gear is None:
            logger.log(WARN, "check failed dym gearcount:%d but dymtype:0 not set", len(self.om.gears))
            flag = "--dymBatch" if self.om.mode == "dynamic_batch" else "--dymDims"
            raise ToolError(f"{GENERAL_FAILURE} {self.path} was compiled with gears and none was chosen: give {flag}")
        if any(-1 in shape for shape in self.shapes):
            raise ToolError(f"{GENERAL_FAILURE} {self.path} takes any shape and none was set: give --dymShape")
        if self.outsizes is None and self.om.mode == "dynamic_shape" and any(-1 in it.shape for it in self.outputs):
            raise ToolError(f"{GENERAL_FAILURE} the outputs of {self.path} may take any size: give --outputSize")
        if len(sizes) != len(self.inputs):
            raise ToolError(f"{GENERAL_FAILURE} {self.path} has {len(self.inputs)} inputs, {len(sizes)} were given")
        for index, size in enumerate(sizes):
            name, need = self.inputs[index].name, self.input_bytes(index)
            if size != need:
                logger.error("check i:%d name:%s in size:%d needsize:%d not match", index, name, size, need)
                raise ToolError(f"{GENERAL_FAILURE} input {name} takes {need} bytes, {size} were given")

    def execute(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once on arrays of the right sizes (their bytes are read as the model's dtypes and shapes)."""
        self.check([array.nbytes for array in arrays])
        feeds = {
            tensor.name: array.reshape(-1).view(tensor.dtype).reshape(shape)
            for array, tensor, shape in zip(arrays, self.inputs, self.shapes)
        }
        start = 1000 * time.perf_counter()
        try:
            outputs = self._session.run(None, feeds)
        except ORT_ERRORS as error:
            logger.error("acl model execute failed")
            raise ToolError(f"{GENERAL_FAILURE} {self.path} failed at work: {error}") from None
        end = 1000 * time.perf_counter()
        self.exec_times.append((start, end))
        logger.debug("model aclExec cost : %f", end - start)
        self._check_outsizes(outputs)
        return outputs

    def execute_loop(self, arrays: Sequence[np.ndarray], loop: int) -> list[np.ndarray]:
        """Run `loop` times on the same arrays; the last outputs."""
        for done in range(1, loop + 1):
            outputs = self.execute(arrays)
            if loop > 1:
                print(f"loop inference exec: ({done}/{loop})", end="\n" if done == loop else "\r", flush=True)
        return outputs

    def infer(self, arrays: Sequence[np.ndarray], loop: int = 1) -> list[np.ndarray]:
        """Copy in, run `loop` times, copy the last outputs out."""
        outputs = self.execute_loop([host_to_device(array) for array in arrays], loop)
        return [device_to_host(output) for output in outputs]

    def _need(self, mode: str, flag: str) -> None:
        if self.om.mode != mode:
            raise _refused(f"{flag} needs a {mode} model, {self.path} is {self.om.mode}")

    def _parse(self, text: str) -> list[tuple[int, ...]]:
        """The shape of every input, in the model's order, out of `name:d,d;name2:d,d`."""
        try:
            given = {
                name: tuple(int(n) for n in dims.split(","))
                for name, _, dims in (part.rpartition(":") for part in text.strip(";").split(";"))
            }
        except ValueError:
            raise _refused(f"cannot read the shapes {text!r}: expected name:d,d;name2:d,d") from None
        if set(given) != {tensor.name for tensor in self.inputs}:
            names = ", ".join(tensor.name for tensor in self.inputs)
            raise _refused(f"the shapes {text!r} must name every input of {self.path}: {names}")
        for tensor in self.inputs:
            shape = given[tensor.name]
            if len(shape) != len(tensor.shape) or any(fixed not in (-1, n) for n, fixed in zip(shape, tensor.shape)):
                raise _refused(f"{tensor.name} was compiled as {list(tensor.shape)}, given as {list(shape)}")
        return [given[tensor.name] for tensor in self.inputs]

    def _check_outsizes(self, outputs: list[np.ndarray]) -> None:
        for index, (output, limit) in enumerate(zip(outputs, self.outsizes or ())):
            if output.nbytes > limit:
                raise ToolError(f"output {index} takes {output.nbytes} bytes, --outputSize grants {limit}: give more")


def nbytes(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a tensor; 0 while a dimension is open."""
    return 0 if -1 in shape else int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def _check_soc(path: str | Path, compiled_for: str) -> None:
    """The chip is NPUKIT_STANDIN_SOC, or any that the stand-in knows; a model of another chip does not load."""
    chip = os.environ.get("NPUKIT_STANDIN_SOC")
    if compiled_for not in ((chip,) if chip else (DEFAULT_SOC, CPU_SOC)):
        logger.error(
            "EE1001: ModelCheckCompatibility failed, supported socVersion=%s, but the model socVersion=%s",
            chip or DEFAULT_SOC,
            compiled_for,
        )
        raise _load_failure(path, f"{path} was compiled for {compiled_for}, this chip is {chip or DEFAULT_SOC}")


def _load_failure(path: str | Path, sentence: str) -> ToolError:
    logger.error("load model from file failed, model file is %s", path)
    return ToolError(sentence)


def _refused(sentence: str) -> ToolError:
    logger.error(sentence)
    return ToolError(sentence)
