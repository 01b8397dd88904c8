"""npukit: what the five models share. The rooms, from the ground floor up:

errors     the family of mistakes, and the exit code of each
command    the stage scripts' command line: flags, error lines, exit codes, progress
files      files that are whole or absent, JSON, digests
samples    sample files and their manifest
stage      one stage: a command in a fresh folder
device     which chips there are, and whether they are idle
why        which prerequisite makes a stage stale
gears      which lengths to compile for
fusions    which lengths ATC fuses attention at
ragged     samples of differing lengths, in gears
bert       BERT from a Hugging Face directory: loaded, run, exported
training   training that goes on where it was killed
fidelity   how close two sets of outputs are
metrics    entity precision, recall and F1
performance  what the inference tool measured
provenance   where the numbers come from
report       report.json: what a run measured, its schema, the table of results
assets     corpora and weights by digest
"""
__version__ = "0.1.0"
