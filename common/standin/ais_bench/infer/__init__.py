"""ais_bench at work.

arguments    the command line
batches      input files: paired, cut into batches, read ahead
results      output files, written behind, and the summary of the times
benchmark    one device's run, from loading the model to the summary
devices      several devices, one process each
ais_infer    the tool of 2022, ais_bench's elder
interface    InferSession, for scripts
"""
