"""What came out, and whether it is good enough.

fidelity     how close two sets of outputs are, and the gates
ledger       each form of the network beside PyTorch
metrics      entity precision, recall and F1
performance  what the inference tool measured
provenance   where the numbers come from
report       report.json: what a run measured, its schema
table        the tables of reports that are printed
compare      runs timed side by side
"""
