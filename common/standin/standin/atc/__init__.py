"""The `atc` command: an ONNX graph in, an offline model out, or the error code that the real compiler gives.

main        the stages of a run: flags, checks, model, om; first and last lines; exit status
flags       the option table and its grammar
errors      error codes and their texts
checks      what options may be combined, before the model is opened
shapes      --input_shape, --dynamic_batch_size, --dynamic_dims
onnx_model  the ONNX file: operators, opset, inputs, outputs, shapes
compiler    from a checked graph to an OfflineModel
show        --mode=6 and --mode=1
"""
