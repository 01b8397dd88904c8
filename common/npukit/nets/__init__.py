"""Networks in PyTorch, and their weights.

bert            BERT from a Hugging Face directory: loaded, run, exported
surgery         what modify_onnx.py does with every BERT
fusions         at which lengths ATC fuses attention
random_weights  seeded weights whose answers differ
pipeline        transformers.pipeline timed beside a run
training        training that goes on where it was killed
"""
