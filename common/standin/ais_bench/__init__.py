"""The stand-in's ais_bench: the command `python3 -m ais_bench` and the module ais_bench.infer.interface."""
