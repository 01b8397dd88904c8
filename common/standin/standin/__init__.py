"""A stand-in of the Ascend tool chain on ONNX Runtime: the same commands on a CPU, and never an NPU's numbers.

om        the .om container, watermarked as a stand-in's
atc       ONNX to .om: options, checks and error codes of the real compiler
fp16      the chip's arithmetic: every float tensor rounded to half precision
runtime   an .om at work: devices, shapes and gears, times
cpus      how many threads the runtime may have
arrays    .npy, .bin and .txt
messages  log lines, the watermark, failures in one sentence
msame     msame
npu_smi   npu-smi

On top of these stand the packages aclruntime and, on that, ais_bench, with ais_infer.py inside it.
"""
VERSION = "0.1.0"
WATERMARK = f"npukit stand-in {VERSION} (CPU, not an NPU)"
