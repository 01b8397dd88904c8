"""InferSession: a model for scripts, with the spellings of 2023 and of 2024 on."""
import multiprocessing
from collections.abc import Callable, Sequence

import aclruntime
import numpy as np

from standin.cpus import granted_cpus
from standin.messages import ToolError

MAX_PIPELINE, MAX_ITERATIONS = 512, 65_536
MAX_DEVICES, MAX_FEEDS_A_DEVICE, MAX_FEEDS = 32, 32, 64


class InferSession:
    """One model on one device; arrays go in and come out in the model's order.

    A feed is an ndarray, a numpy scalar, an aclruntime.Tensor or a torch tensor on the CPU; only its bytes count, its
    dtype must be the model's. The modes of infer(): static; dymbatch, dymdims and dymshape, which set the gear or
    shape from the feeds' shapes.
    """

    def __init__(
        self, device_id: int, model_path: str, acl_json_path: str | None = None, debug: bool = False, loop: int = 1,
        threads: int | None = None,
    ):
        self.device_id, self.model_path, self.loop = device_id, model_path, loop
        options = aclruntime.session_options()
        options.acl_json_path = acl_json_path or ""
        options.log_level = 1 if debug else 2
        options.loop = loop
        self.session = aclruntime.InferenceSession(model_path, device_id, options, threads)
        self.outputs_names = [output.name for output in self.session.get_outputs()]

    def get_inputs(self) -> list[aclruntime.TensorDesc]:
        return self.session.get_inputs()

    def get_outputs(self) -> list[aclruntime.TensorDesc]:
        return self.session.get_outputs()

    def set_loop_count(self, loop: int) -> None:
        self.session.options().loop = loop

    def set_context(self) -> None:
        self.session.set_context()

    def set_staticbatch(self) -> None:
        self.session.set_staticbatch()

    def set_dynamic_batchsize(self, dym_batch: int) -> None:
        self.session.set_dynamic_batchsize(dym_batch)

    def set_dynamic_hw(self, w: int, h: int) -> None:
        self.session.set_dynamic_hw(w, h)

    def set_dynamic_dims(self, dym_dims: str) -> None:
        self.session.set_dynamic_dims(dym_dims)

    def set_dynamic_shape(self, dym_shape: str) -> None:
        self.session.set_dynamic_shape(dym_shape)

    def set_custom_outsize(self, custom_sizes: Sequence[int]) -> None:
        self.session.set_custom_outsize(custom_sizes)

    def get_max_dym_batchsize(self) -> int:
        return self.session.get_max_dym_batchsize()

    def create_tensor_from_fileslist(self, desc: aclruntime.TensorDesc, files: Sequence[str]) -> aclruntime.Tensor:
        return self.session.create_tensor_from_fileslist(desc, files)

    def create_tensor_from_arrays_to_device(self, arrays: np.ndarray) -> aclruntime.Tensor:
        return aclruntime.Tensor(arrays).to_device(self.device_id)

    @staticmethod
    def convert_tensors_to_host(tensors: Sequence[aclruntime.Tensor]) -> None:
        for tensor in tensors:
            tensor.to_host()

    @staticmethod
    def convert_tensors_to_arrays(tensors: Sequence[aclruntime.Tensor]) -> list[np.ndarray]:
        return [np.array(tensor) for tensor in tensors]

    def run(self, feeds: Sequence, out_array: bool = False) -> list:
        """Execute with the shapes that are set; tensors on the device, or arrays with out_array."""
        arrays = [_feed(feed) for feed in feeds]  # kept alive here: a BaseTensor is an address
        outputs = self.session.run(self.outputs_names, [_base_tensor(array) for array in arrays])
        if not out_array:
            return outputs
        self.convert_tensors_to_host(outputs)
        return self.convert_tensors_to_arrays(outputs)

    def infer(
        self, feeds: Sequence, mode: str = "static", custom_sizes: int | Sequence[int] = 100000, out_array: bool = True
    ) -> list:
        """Set the shapes as `mode` says and execute; custom_sizes are the outputs' bytes in mode dymshape."""
        arrays = [_feed(feed) for feed in feeds]
        self._prepare(mode, [array.shape for array in arrays], custom_sizes)
        return self.run(arrays, out_array)

    def infer_pipeline(
        self, feeds_list: Sequence[Sequence], mode: str = "static", custom_sizes: int | Sequence[int] = 100000
    ) -> list[list[np.ndarray]]:
        """infer() for each of at most 512 lists of feeds."""
        if len(feeds_list) > MAX_PIPELINE:
            raise ToolError(f"infer_pipeline takes at most {MAX_PIPELINE} lists of feeds, {len(feeds_list)} were given")
        return [self.infer(feeds, mode, custom_sizes) for feeds in feeds_list]

    def infer_iteration(
        self, feeds: Sequence, in_out_list: Sequence[int] | None = None, iteration_times: int = 1,
        mode: str = "static", custom_sizes: int | Sequence[int] = 100000,
    ) -> list[np.ndarray]:
        """Execute iteration_times, each time with outputs of the last as inputs.

        in_out_list    for each input the output that replaces it, or -1 to keep it
        """
        if not 1 <= iteration_times <= MAX_ITERATIONS:
            raise ToolError(f"iteration_times must be 1 to {MAX_ITERATIONS}, found {iteration_times}")
        arrays = [_feed(feed) for feed in feeds]
        self._prepare(mode, [array.shape for array in arrays], custom_sizes)
        tensors = [array if isinstance(array, aclruntime.Tensor) else self.create_tensor_from_arrays_to_device(array)
                   for array in arrays]
        outputs = self.run(tensors)
        for _ in range(iteration_times - 1):
            for index, source in enumerate(in_out_list or ()):
                if source >= 0:
                    tensors[index] = outputs[source]
            outputs = self.run(tensors)
        self.convert_tensors_to_host(outputs)
        return self.convert_tensors_to_arrays(outputs)

    def sumary(self) -> aclruntime.Summary:
        return self.session.sumary()

    def summary(self) -> aclruntime.Summary:
        return self.session.summary()

    def reset_sumaryinfo(self) -> None:
        self.session.reset_sumaryinfo()

    reset_summaryinfo = reset_sumaryinfo

    def free_resource(self) -> None:
        self.session.free_resource()

    def finalize(self=None) -> None:
        """On a session as in 2023, or InferSession.finalize() as in 2024 on."""
        if self is not None:
            self.session.finalize()

    def _prepare(self, mode: str, shapes: list[Sequence[int]], custom_sizes: int | Sequence[int]) -> None:
        inputs = self.get_inputs()
        if mode not in ("static", "dymbatch", "dymhw", "dymdims", "dymshape"):
            raise ToolError(f"wrong infer_mode:{mode}, expected static, dymbatch, dymhw, dymdims or dymshape")
        if len(shapes) != len(inputs):
            raise ToolError(f"input datas and intensors nums not matched: {len(shapes)} feeds, {len(inputs)} inputs")
        text = self.session.model.shapes_text(shapes)
        if mode == "dymbatch":
            self.set_dynamic_batchsize(_batch(inputs, shapes))
        elif mode == "dymhw":
            self.set_dynamic_hw(shapes[0][-1], shapes[0][-2])
        elif mode == "dymdims":
            self.set_dynamic_dims(text)
        elif mode == "dymshape":
            self.set_dynamic_shape(text)
            outputs = len(self.outputs_names)
            self.set_custom_outsize([custom_sizes] * outputs if isinstance(custom_sizes, int) else custom_sizes)
        elif self.session.model.om.mode == "static":
            self.set_staticbatch()


def _feed(feed) -> np.ndarray | aclruntime.Tensor:
    """Any kind of feed as a contiguous array, or the tensor that it is."""
    if isinstance(feed, aclruntime.Tensor):
        return feed
    if isinstance(feed, np.ndarray | np.generic):
        return np.ascontiguousarray(feed)
    if callable(getattr(feed, "type", None)) and str(feed.type()).startswith("torch."):
        return np.ascontiguousarray(feed.numpy())
    raise ToolError(f"type:{type(feed)} invalid: expected ndarray, numpy scalar, aclruntime.Tensor or torch CPU tensor")


def _base_tensor(array: np.ndarray | aclruntime.Tensor) -> aclruntime.BaseTensor | aclruntime.Tensor:
    if isinstance(array, aclruntime.Tensor):
        return array
    return aclruntime.BaseTensor(array.ctypes.data, array.nbytes)


def _batch(inputs: Sequence[aclruntime.TensorDesc], shapes: Sequence[Sequence[int]]) -> int:
    """The batch that stands where an input was compiled with -1."""
    for it, shape in zip(inputs, shapes):
        for compiled, n in zip(it.shape, shape):
            if compiled == -1:
                return n
    raise ToolError("not a dymbatch model!")


class MemorySummary:
    """The copies' times in milliseconds, by the method names of both generations."""

    @staticmethod
    def get_h2d_time_list() -> list[float]:
        return aclruntime.MemorySummary().H2D_time_list

    @staticmethod
    def get_d2h_time_list() -> list[float]:
        return aclruntime.MemorySummary().D2H_time_list

    @staticmethod
    def reset() -> None:
        aclruntime.MemorySummary().reset()

    get_H2D_time_list, get_D2H_time_list = get_h2d_time_list, get_d2h_time_list


class MultiDeviceSession:
    """The same model on several devices, one process for each list of feeds: {device: [feeds, ...]}."""

    def __init__(self, model_path: str, acl_json_path: str | None = None, debug: bool = False, loop: int = 1):
        self.model_path, self.acl_json_path, self.debug, self.loop = model_path, acl_json_path, debug, loop
        self._summary: dict[int, list] = {}

    def summary(self) -> dict[int, list]:
        """device -> the (start, end) pairs in milliseconds of each list of feeds, of the last call."""
        return self._summary

    def infer(self, device_feeds: dict[int, list], mode: str = "static", custom_sizes=100000) -> dict[int, list]:
        """InferSession.infer on every list of feeds; {device: [outputs, ...]}."""
        return self._run(InferSession.infer, device_feeds, (mode, custom_sizes))

    def infer_pipeline(
        self, device_feeds_list: dict[int, list], mode: str = "static", custom_sizes=100000
    ) -> dict[int, list]:
        return self._run(InferSession.infer_pipeline, device_feeds_list, (mode, custom_sizes))

    def infer_iteration(
        self, device_feeds: dict[int, list], in_out_list: Sequence[int] | None = None, iteration_times: int = 1,
        mode: str = "static", custom_sizes=100000,
    ) -> dict[int, list]:
        return self._run(InferSession.infer_iteration, device_feeds, (in_out_list, iteration_times, mode, custom_sizes))

    def _run(self, method: Callable, device_feeds: dict[int, list], rest: tuple) -> dict[int, list]:
        jobs = [(device, feeds) for device, each in device_feeds.items() for feeds in each]
        most = max(map(len, device_feeds.values()), default=0)
        if not jobs or len(device_feeds) > MAX_DEVICES or most > MAX_FEEDS_A_DEVICE or len(jobs) > MAX_FEEDS:
            raise ToolError(
                f"{len(device_feeds)} devices with {len(jobs)} lists of feeds: expected 1 to {MAX_DEVICES} devices, "
                f"at most {MAX_FEEDS_A_DEVICE} lists each and {MAX_FEEDS} in all"
            )
        threads = max(1, granted_cpus() // len(jobs))
        settings = (self.model_path, self.acl_json_path, self.debug, self.loop, threads)
        with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
            done = pool.starmap(_one_job, [(method, device, settings, feeds, rest) for device, feeds in jobs], 1)
        results: dict[int, list] = {device: [] for device in device_feeds}
        self._summary = {device: [] for device in device_feeds}
        for (device, _), (outputs, times) in zip(jobs, done):
            results[device].append(outputs)
            self._summary[device].append(times)
        return results


def _one_job(method: Callable, device: int, settings: tuple, feeds: Sequence, rest: tuple) -> tuple[list, list]:
    session = InferSession(device, *settings)
    outputs = method(session, feeds, *rest)
    return outputs, session.summary().exec_time_list
