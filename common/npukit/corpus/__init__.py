"""From text to what a graph takes, and back.

wordpiece  a Hugging Face folder's tokenizer
samples    sample files and their manifest
gears      which lengths to compile for
ragged     samples of differing lengths, in gears
"""
