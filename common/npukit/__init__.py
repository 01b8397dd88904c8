"""npukit: what the scripts of the models import.

errors     the family of mistakes, and the exit code of each
command    the stage scripts' command line: flags, error lines, exit codes, progress
files      files that are whole or absent, JSON, digests
text       UTF-8 text by lines
columns    rows of cells as text in columns
filetypes  what a file is, by its contents
corpus     from text to what a graph takes, and back
graph      surgery on ONNX graphs
nets       networks in PyTorch, and their weights
judge      what came out, and whether it is good enough
"""
__version__ = "0.1.0"
