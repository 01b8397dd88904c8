"""What runs a trace: torch_aie, its successor mindietorch, or TorchScript on the CPU.

Neither package is in an index; both have one interface. Source: run_torch_aie.py of the original (ModelZoo-PyTorch ca89030,
AscendIE/TorchAIE/built-in/nlp/Bert_Large_NER), and for gears, a list of inputs each, MindIE Torch 1.0's manual.
"""
import importlib
import importlib.util
from collections.abc import Sequence

import torch

from npukit.errors import JobFailed, UserError

MODULES = ("torch_aie", "mindietorch")


class Cpu:
    """TorchScript as PyTorch runs it, in fp32."""

    name, precision = f"TorchScript on the CPU, torch {torch.__version__}", "fp32"

    def compile(self, module: torch.jit.ScriptModule, inputs: int, batch_size: int,
                seq_lens: Sequence[int]) -> torch.jit.ScriptModule:
        """Return the module as it is: any shape will do."""
        return module

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def call(self, net, tensors: list[torch.Tensor]):
        """Return what the network answers, when it is done."""
        return net(*tensors)


class Npu:
    """torch_aie or mindietorch, compiled for one chip in half precision, as the original does."""

    precision = "fp16"

    def __init__(self, package, device: int, soc_version: str):
        self.package, self.device, self.soc_version = package, f"npu:{device}", soc_version
        self.name = " ".join((package.__name__, getattr(package, "__version__", ""))).strip()
        package.set_device(device)
        self.stream = package.npu.Stream(self.device)

    def compile(self, module: torch.jit.ScriptModule, inputs: int, batch_size: int, seq_lens: Sequence[int]):
        """Return the module compiled for int64 [N, L] inputs of these lengths, gears where there are several."""
        shapes = [[self.package.Input((batch_size, length), dtype=torch.int64) for _ in range(inputs)]
                  for length in seq_lens]
        try:
            compiled = self.package.compile(
                module, inputs=shapes if len(shapes) > 1 else shapes[0],
                precision_policy=self.package.PrecisionPolicy.FP16,
                truncate_long_and_double=True, require_full_compilation=False, allow_tensor_replace_int=True,
                torch_executed_ops=[],
                soc_version=self.soc_version, optimization_level=0)
        except Exception as error:  # the package's own
            raise JobFailed(f"{self.name} does not compile the trace: {' '.join(str(error).split())[:300]}") from error
        return compiled.eval()

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device)

    def call(self, net, tensors: list[torch.Tensor]):
        """Return what the network answers, when it is done."""
        with self.package.npu.stream(self.stream):
            answer = net(*tensors)
            self.stream.synchronize()
        return answer


def choose(wanted: str, device: int, soc_version: str) -> Cpu | Npu:
    """Return the backend: of `auto` the first package that is installed, and the CPU where none is.

    raises  UserError where a package that is asked for is not installed; JobFailed where one that is does not load
    """
    if wanted == "cpu":
        return Cpu()
    for name in MODULES if wanted == "auto" else (wanted,):
        if importlib.util.find_spec(name):
            try:
                package = importlib.import_module(name)
            except Exception as error:  # a library of CANN that is missing, another torch than it was built for
                raise JobFailed(f"{name} is installed and does not load: {' '.join(str(error).split())[:300]}; "
                                "--backend cpu does without it") from error
            return Npu(package, device, soc_version)
    if wanted != "auto":
        raise UserError(f"--backend {wanted}: it is not installed; --backend auto takes what there is")
    return Cpu()
