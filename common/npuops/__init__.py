"""npuops: what the makefiles call, python -m npuops <verb>.

places    where results lie
lock      a lock of this machine, taken by a command
locks     a lock that other hosts see
processes a command with all that it starts, ended on a signal or at a limit
new       a new model from one that is there
stage     one stage in a folder of its own; the machine that it needs
assets    corpora and weights by digest, and results to a store
cluster   batch jobs on a shared cluster
light     a chip's first hour
"""
