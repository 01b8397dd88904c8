"""Small BERTs, exported as the models' are, and ragged batches for them."""
import functools
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
import transformers
from hypothesis import strategies as st

from npukit.graph import additive_mask, apply, clamp_mask, load, simplify

TASKS = ["SequenceClassification", "TokenClassification", "QuestionAnswering"]
FORMS = ["symbolic", "gears", "static"]  # N and L open, L open, none open
NAMES = ["input_ids", "attention_mask", "token_type_ids"]
OUTPUTS = {"QuestionAnswering": ["start_logits", "end_logits"]}
VOCABULARY, N, L = 50, 4, 8  # N and L of what is fixed
COMMON = Path(__file__).resolve().parents[1]


@functools.cache
def net(task, layers=2):
    """Return a seeded BertFor<task>; its biases and LayerNorms are random too, so that none can be dropped unseen."""
    torch.manual_seed(1234)
    config = transformers.BertConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=layers,
                                     num_attention_heads=4,
                                     intermediate_size=64, max_position_embeddings=32, attn_implementation="eager",
                                     num_labels=2 if task == "QuestionAnswering" else 3, return_dict=False)
    made = getattr(transformers, f"BertFor{task}")(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


class Berts:
    """Exported graphs, each made once: berts(task, form, ...) is its file."""

    def __init__(self, folder):
        self.folder = folder
        self.made = {}

    def __call__(self, task="SequenceClassification", form="symbolic", layers=2, inputs=3, opset=13):
        key = f"{task}-{form}-{layers}-{inputs}-{opset}"
        path = self.folder / f"{key}.onnx"
        if key in self.made:
            return self.made[key]
        if form == "symbolic":
            export(net(task, layers), path, OUTPUTS.get(task, ["output"]), inputs, opset)
        else:
            shape = [N, L if form == "static" else "seq"]
            simplify(self(task, "symbolic", layers, inputs, opset), path, {name: shape for name in NAMES[:inputs]},
                     ragged([L, 1, 3, 5, 2], L, inputs))
        self.made[key] = path
        return path

    def masked(self, *args, **options):
        """Return the model with its mask in plain form, as big_kernel gets it; the caller's own."""
        path = self(*args, **options)
        if (path, "masked") not in self.made:
            self.made[path, "masked"] = apply(load(path), [clamp_mask, additive_mask])[0]
        return self.made[path, "masked"].clone()


def export(network, path, outputs, inputs, opset):
    names = NAMES[:inputs]
    example = tuple(torch.ones(2, 6, dtype=torch.int64) for _ in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, example, path, input_names=names, output_names=outputs, opset_version=opset,
                          dynamo=False,
                          dynamic_axes={name: {0: "bs", 1: "seq"} for name in names})


def ragged(lengths, width, inputs=3, seed=0):
    """Return feeds int64 [len(lengths), width]: random tokens, masked beyond each length."""
    rng, size = np.random.default_rng(seed), (len(lengths), width)
    mask = (np.arange(width) < np.asarray(lengths)[:, None]).astype(np.int64)
    arrays = rng.integers(1, VOCABULARY, size) * mask, mask, rng.integers(0, 2, size) * mask
    return dict(zip(NAMES[:inputs], arrays))


@st.composite
def batches(draw, width=None):
    """Feeds of one to nine samples of any lengths, the longest of them as wide as the batch or `width`."""
    lengths = draw(st.lists(st.integers(1, width or 20), min_size=1, max_size=9))
    return ragged(lengths, width or max(2, *lengths), seed=draw(st.integers(0, 1000)))


def torch_answers(network, feeds):
    """Return PyTorch's outputs for the feeds, as arrays."""
    with torch.inference_mode():
        return [output.numpy() for output in network(*(torch.from_numpy(array) for array in feeds.values()))]


def model_of(text):
    """Return an onnx_ir model of ONNX's text form."""
    return ir.from_proto(onnx.parser.parse_model(text))


def content(model):
    """Return everything that is in a model, as bytes."""
    return ir.to_proto(model).SerializeToString(deterministic=True)


def nodes(model, op_type):
    return [node for node in model.graph if node.op_type == op_type]


def in_half(model):
    """Return the model in the chip's arithmetic, by the stand-in's own module: its compiler is tested elsewhere."""
    spec = importlib.util.spec_from_file_location("standin_fp16", COMMON / "standin" / "standin" / "fp16.py")
    fp16 = importlib.util.module_from_spec(spec)
    import sys
    sys.modules[spec.name] = fp16
    spec.loader.exec_module(fp16)
    proto = ir.to_proto(model)
    fp16.convert(proto, lambda node: True)
    return ir.from_proto(proto)
