"""The stand-in's aclruntime: the names of the real extension module, on ONNX Runtime."""
from aclruntime.session import InferenceSession, Summary, TensorDesc, session_options
from aclruntime.tensor import BaseTensor, MemorySummary, Tensor, dtype, format, type

__version__ = "0.0.2"
__all__ = [
    "BaseTensor", "InferenceSession", "MemorySummary", "Summary", "Tensor", "TensorDesc", "dtype", "format",
    "session_options", "type",
]
