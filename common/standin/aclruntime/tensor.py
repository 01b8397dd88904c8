"""Tensors on the host (device -1) and on a device, and the times of the copies between them.

Names are the real module's, whatever their case.
"""
import ctypes
import enum

import numpy as np

from standin.messages import ToolError
from standin.runtime import copies, device_to_host, host_to_device

HOST = -1


class dtype(enum.IntEnum):
    """Data type codes of ACL."""

    float32 = 0
    float16 = 1
    int8 = 2
    int32 = 3
    uint8 = 4
    int16 = 6
    uint16 = 7
    uint32 = 8
    int64 = 9
    uint64 = 10
    float64 = double = 11
    bool = 12


class type(enum.IntEnum):
    """Where a tensor lies."""

    memory_host = 0
    memory_device = 1


class format(enum.IntEnum):
    """Layout codes of ACL."""

    NCHW = 0
    NHWC = 1
    ND = 2


class Tensor:
    """An array with a place; a tensor on a device gives its values only after to_host()."""

    def __init__(self, array: np.ndarray, device: int = HOST):
        self._array = np.ascontiguousarray(array)
        self.device = device

    @property
    def shape(self) -> list[int]:
        return list(self._array.shape)

    @property
    def dtype(self) -> dtype:
        return dtype[self._array.dtype.name]

    @property
    def type(self) -> type:
        return type.memory_host if self.device == HOST else type.memory_device

    def to_device(self, device: int) -> "Tensor":
        """Copy to the device, in place."""
        self._array, self.device = host_to_device(self._array), device
        return self

    def to_host(self) -> "Tensor":
        """Copy back to the host, in place; a tensor that is there already stays."""
        if self.device != HOST:
            self._array, self.device = device_to_host(self._array), HOST
        return self

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self._on_host() if dtype is None else self._on_host().astype(dtype)
        return array.copy() if copy else array

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._on_host())

    def _on_host(self) -> np.ndarray:
        if self.device != HOST:
            raise ToolError("tensor is in npu. can't convert to numpy array")
        return self._array

    def __repr__(self) -> str:
        place = "cpu" if self.device == HOST else f"npu:{self.device}"
        return f"<Tensor shape={self.shape} dtype={self.dtype.name} device={place}>"


class BaseTensor:
    """Bytes of somebody else's array, by address; the owner must keep it alive through the run."""

    def __init__(self, ptr: int, nbytes: int):
        self.ptr, self.nbytes = ptr, nbytes

    def array(self) -> np.ndarray:
        """The bytes as uint8 [nbytes], not copied."""
        return np.frombuffer((ctypes.c_ubyte * self.nbytes).from_address(self.ptr), np.uint8)


class MemorySummary:
    """Milliseconds of every copy to (H2D) and from (D2H) a device in this process."""

    @property
    def H2D_time_list(self) -> list[float]:
        return list(copies.h2d_ms)

    @property
    def D2H_time_list(self) -> list[float]:
        return list(copies.d2h_ms)

    def reset(self) -> None:
        copies.reset()
