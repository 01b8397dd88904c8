"""From text to what a graph takes, and back.

wordpiece  a Hugging Face folder's tokenizer
gears      which lengths to compile for
store      a corpus' inputs on disk: flat samples, their lengths, the plan of rows
batches    whole batches for the inference tools, and outputs put back in the order of the corpus
"""
