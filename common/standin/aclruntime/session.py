"""One model on one device: what pybind gives of ACL, with the spellings of both generations."""
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aclruntime.tensor import BaseTensor, Tensor, dtype, format
from standin import messages, om
from standin.messages import ToolError, logger
from standin.runtime import Model, host_to_device, nbytes, open_device

DEBUG = 1  # session_options.log_level: 1 debug, 2 info, 3 warning, 4 error


class session_options:
    """log_level, loop (executions a run) and acl_json_path (a profiler's settings, which the stand-in lacks)."""

    def __init__(self):
        self.log_level = 2
        self.loop = 1
        self.acl_json_path = ""


@dataclass(frozen=True)
class TensorDesc:
    """An input or output: shape as compiled, realsize in bytes with the gear of now."""

    name: str
    datatype: dtype
    format: format
    shape: list[int]
    size: int
    realsize: int


@dataclass(frozen=True)
class Summary:
    """exec_time_list: milliseconds (sumary, 2023) or (start, end) pairs in milliseconds (summary, 2024 on)."""

    exec_time_list: list


class InferenceSession:
    """A model on a device. run(outnames, feeds) executes it options.loop times and gives tensors on the device."""

    def __init__(self, model_path: str, device_id: int, options: session_options, threads: int | None = None):
        messages.announce()
        messages.speak(debug=options.log_level == DEBUG)
        if options.acl_json_path:
            raise ToolError(f"{options.acl_json_path}: the stand-in has no profiler and no dump; they need an NPU")
        self.device_id = device_id
        self._options = options
        logger.info("acl init success")
        open_device(device_id)
        logger.info("open device %d success", device_id)
        logger.info("create new context")
        self.model: Model | None = Model(model_path, threads)
        logger.info("load model %s success", model_path)
        logger.info("create model description success")
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("session info:%s", self)

    def run(self, outnames: Sequence[str], feeds) -> list[Tensor]:
        """Execute on a list of Tensor or BaseTensor, or a dict of Tensors by input name.

        Returns the named outputs as tensors on the device; raises TypeError for other kinds of feeds and
        RuntimeError for unknown names and wrong sizes.
        """
        if outnames is None:
            raise TypeError("run(): outnames must be a list of names, found None")
        chosen = [self._output_index(name) for name in outnames]
        arrays = [self._array_on_device(feed) for feed in self._in_order(feeds)]
        outputs = self.model.execute_loop(arrays, self._options.loop)
        return [Tensor(outputs[index], self.device_id) for index in chosen]

    def run_pipeline(
        self, outnames: Sequence[str], feeds_list: Sequence, shapes_list: Sequence[Sequence[Sequence[int]]] = (),
        auto_dym_shape: bool = False, auto_dym_dims: bool = False,
    ) -> list[list[Tensor]]:
        """One run after another, each with its own shapes in the auto modes; the outputs are on the host."""
        outputs = []
        for index, feeds in enumerate(feeds_list):
            if auto_dym_shape or auto_dym_dims:
                text = self.model.shapes_text(shapes_list[index])
                (self.set_dynamic_shape if auto_dym_shape else self.set_dynamic_dims)(text)
            outputs.append([tensor.to_host() for tensor in self.run(outnames, feeds)])
        return outputs

    def get_inputs(self) -> list[TensorDesc]:
        return [
            _describe(tensor, self._largest(tensor), self.model.input_bytes(index))
            for index, tensor in enumerate(self.model.inputs)
        ]

    def get_outputs(self) -> list[TensorDesc]:
        described = []
        for tensor in self.model.outputs:
            size = self._largest(tensor)
            described.append(_describe(tensor, size, size))
        return described

    def options(self) -> session_options:
        return self._options

    def sumary(self) -> Summary:
        return Summary([end - start for start, end in self.model.exec_times])

    def summary(self) -> Summary:
        return Summary(list(self.model.exec_times))

    def reset_sumaryinfo(self) -> None:
        self.model.exec_times.clear()

    reset_summaryinfo = reset_sumaryinfo

    def set_staticbatch(self) -> None:
        self.model.set_static()

    def set_dynamic_batchsize(self, batch: int) -> None:
        self.model.set_batch(int(batch))

    def set_dynamic_hw(self, width: int, height: int) -> None:
        raise ToolError(f"--dymHW {width},{height}: the stand-in has no image size gears, only batch, dims and shape")

    def set_dynamic_dims(self, dims: str) -> None:
        self.model.set_dims(dims)

    def set_dynamic_shape(self, shape: str) -> None:
        self.model.set_shape(shape)

    def set_custom_outsize(self, sizes: Sequence[int]) -> None:
        self.model.set_outsizes(sizes)

    def get_max_dym_batchsize(self) -> int:
        """The largest batch gear; 0 for a model without."""
        return max((gear[0] for gear in self.model.om.gears), default=0) if self.model.om.mode == "dynamic_batch" else 0

    def set_context(self) -> None:
        """Nothing to switch: the stand-in has one context a process."""

    def create_tensor_from_fileslist(self, desc: TensorDesc, files: Sequence[str]) -> Tensor:
        """The files' bytes one after the other, on the device, as the tensor that desc describes."""
        data = b"".join(Path(file).read_bytes() for file in files)
        if len(data) != desc.realsize:
            raise ToolError(f"{desc.name} takes {desc.realsize} bytes, the files {list(files)} hold {len(data)}")
        shape = self.model.shapes[[tensor.name for tensor in self.model.inputs].index(desc.name)]
        return Tensor(np.frombuffer(data, desc.datatype.name).reshape(shape)).to_device(self.device_id)

    def free_resource(self) -> None:
        """Unload the model and give the device back."""
        if self.model is None:
            return
        self.model = None
        logger.info("unload model success, model Id is 1")
        logger.info("end to destroy context")
        logger.info("end to reset device is %d", self.device_id)

    def finalize(self) -> None:
        """free_resource(), and ACL itself."""
        if self.model is not None:
            self.free_resource()
            logger.info("end to finalize acl")

    def __str__(self) -> str:
        lines = ["<Model>", f"device:{self.device_id}"]
        for title, descriptions in (("input:", self.get_inputs()), ("output:", self.get_outputs())):
            lines.append(title)
            for index, d in enumerate(descriptions):
                shape = ", ".join(map(str, d.shape))
                lines.append(f"  #{index}    {d.name}  ({shape})  {d.datatype.name}  {d.size}  {d.realsize}")
        return "\n".join(lines)

    def _output_index(self, name: str) -> int:
        names = [tensor.name for tensor in self.model.outputs]
        if name not in names:
            raise ToolError(f"no output {name!r} in {self.model.path}: it has {names}")
        return names.index(name)

    def _in_order(self, feeds) -> list[Tensor | BaseTensor]:
        """The feeds in the order of the model's inputs."""
        if not isinstance(feeds, dict):
            return list(feeds)
        missing = [tensor.name for tensor in self.model.inputs if tensor.name not in feeds]
        unknown = set(feeds) - {tensor.name for tensor in self.model.inputs}
        if missing or unknown:
            raise ToolError(f"the feeds lack {missing} and {self.model.path} has no {sorted(unknown)}")
        return [feeds[tensor.name] for tensor in self.model.inputs]

    @staticmethod
    def _array_on_device(feed: Tensor | BaseTensor) -> np.ndarray:
        if isinstance(feed, BaseTensor):
            return host_to_device(feed.array())
        if isinstance(feed, Tensor):
            return feed._array if feed.device >= 0 else host_to_device(feed._array)
        raise TypeError(f"run(): feeds must be Tensor or BaseTensor, found {type(feed).__name__}")

    def _largest(self, tensor: om.Tensor) -> int:
        """Bytes with the largest batch gear; 0 where a dimension stays open."""
        batch = self.get_max_dym_batchsize()
        return nbytes([batch if batch and n == -1 else n for n in tensor.shape], tensor.dtype)


def _describe(tensor: om.Tensor, size: int, realsize: int) -> TensorDesc:
    return TensorDesc(tensor.name, dtype[tensor.dtype], format.ND, list(tensor.shape), size, realsize)
