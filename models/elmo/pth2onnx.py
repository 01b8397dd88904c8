#!/usr/bin/env python3
"""Export ELMo to ONNX, one static graph for each length in words, any batch size, and prove each on the real samples.

README, "Inference", steps 3.1 and 3.2 (with --inputs the graphs are simplified by onnxsim as well).

Reads   --option_file   AllenNLP's options.json
        --weight_file   AllenNLP's weights.hdf5; with --random_weights none
        --inputs        preprocess.py's --bin_path; with it each graph is simplified, and proved against PyTorch
Writes  --output_file       the graph: input int32 [N, word_len, 50] -> output float32 [N, word_len, 1024]; of several lengths
                            <name>_<word_len>.onnx each, and --output_file is a link to the longest
        with --random_weights, beside it: options.json and weights.hdf5, as AllenNLP reads them
        with --inputs also  reference.npy, PyTorch's vectors float32 [words, 1024]; ledger.json; weights.json
--recipe original exports allennlp's own Elmo instead, by --oracle, the Python that has it: batch size 1.
Source  ModelZoo-PyTorch 1743df0, ACL_PyTorch/contrib/nlp/ELMo/elmo_pth2onnx.py
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import bilm
import bilm_files
import vectors
from characters import CHARACTERS, batch_to_ids
from npukit import command, files, graph
from npukit.errors import JobFailed, UserError
from npukit.judge import fidelity, ledger

OPSET = 13
PSEUDO_WORDS = 512  # that random weights are centred on


def main() -> None:
    args = options()
    sentences = vectors.read(args.inputs) if args.inputs else None
    seq_lens = sentences.seq_lens if sentences else args.word_len
    described = bilm_files.read_options(args.option_file)
    weights = random(described, args.seed) if args.random_weights else bilm_files.read_weights(args.weight_file,
                                                                                               described)
    if args.random_weights:
        args.weight_file = bilm_files.write(args.output_file.parent, described, weights)
    net = bilm.BiLm(described, weights).eval()
    for length in command.progress(seq_lens, "pth2onnx"):
        write_graph(args, net, length, vectors.graph_file(args.output_file, length, seq_lens), sentences)
    if len(seq_lens) > 1:
        args.output_file.unlink(missing_ok=True)
        args.output_file.symlink_to(vectors.graph_file(args.output_file, seq_lens[-1], seq_lens).name)
    if sentences:
        ledger.write_weights(args.output_file.parent, args.kind, args.weight_file,
                             sum(array.size for array in weights.values()))
        prove(net, sentences, args.output_file)


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--output_file", type=Path, required=True)
    parser.add_argument("--word_len", type=lambda text: sorted({int(n) for n in text.split(",")}), default=[8],
                        help="a length, or several with commas; --inputs knows its own")
    parser.add_argument("--option_file", type=Path, default="elmo_2x4096_512_2048cnn_2xhighway_options.json")
    parser.add_argument("--weight_file", type=Path, default="elmo_2x4096_512_2048cnn_2xhighway_weights.hdf5")
    parser.add_argument("--random_weights", action="store_true", help="make weights for --option_file, seeded")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--kind", default="own", help="what the weights are called in the report")
    parser.add_argument("--inputs", type=Path, help="preprocess.py's --bin_path, to simplify for and to prove on")
    parser.add_argument("--recipe", choices=["exact", "original"], default="exact",
                        help="original: allennlp's own Elmo")
    parser.add_argument("--oracle", type=Path,
                        help="with --recipe original: the Python that has allennlp, `make -C models/elmo oracle`")
    args = parser.parse_args()
    if args.word_len[0] < 1:
        raise UserError(f"--word_len is {args.word_len[0]}, expected 1 or more")
    return args


def random(described: dict, seed: int) -> bilm.Weights:
    """Return random weights, words of random letters standing for any."""
    rng = np.random.default_rng(seed)
    words = ["".join(map(chr, rng.integers(97, 123, rng.integers(1, 13)))) for _ in range(PSEUDO_WORDS)]
    ids = torch.from_numpy(batch_to_ids([words])[0])
    with torch.no_grad():
        return bilm_files.random_weights(described, seed,
                                         lambda weights: bilm.CharacterEncoder(described, weights)(ids).numpy())


def write_graph(args: argparse.Namespace, net: bilm.BiLm, length: int, path: Path,
                sentences: vectors.Sentences | None) -> None:
    """Export one length, by the recipe that is asked for; with sentences, simplify it, proved on some of them."""
    with tempfile.TemporaryDirectory(dir=args.output_file.parent) as folder:
        raw = Path(folder, "raw.onnx") if sentences else path
        if args.recipe == "original":
            export_original(args, length, raw)
        else:
            export(net, length, raw)
        if sentences:
            shape = [1 if args.recipe == "original" else "N", length, CHARACTERS]
            graph.simplify(raw, path, {"input": shape}, {"input": sentences.some(length)})


def export(net: bilm.BiLm, length: int, path: Path) -> None:
    """Write the network for sentences of so many words, the batch size left open."""
    dummy = torch.from_numpy(batch_to_ids([["word"] * length, ["word"]]))
    with files.aside(path) as new, torch.no_grad():
        torch.onnx.export(net, (dummy,), new, input_names=["input"], output_names=["output"], opset_version=OPSET,
                          dynamo=False,
                          dynamic_axes={"input": {0: "N"}, "output": {0: "N"}})


def export_original(args: argparse.Namespace, length: int, path: Path) -> None:
    """Have allennlp's Elmo exported by the Python that has it."""
    if not args.oracle or not args.oracle.is_file():
        raise UserError(f"--recipe original exports allennlp's own Elmo, and --oracle is {args.oracle}; "
                        "`make -C models/elmo oracle` builds it")
    line = [args.oracle, Path(__file__).with_name("oracle.py"), "export", "--option_file", args.option_file,
            "--weight_file",
            args.weight_file, "--word_len", str(length), "--output_file", path]
    done = subprocess.run(line, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise JobFailed(f"allennlp's Elmo could not be exported: {(done.stderr.strip().splitlines() or ['no word of why'])[-1]}")


def prove(net: bilm.BiLm, sentences: vectors.Sentences, path: Path) -> None:
    """Compare the graphs with PyTorch on all sentences; with the original's filling, say how far that is from the exact answer."""
    def in_torch(_, ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(ids)).numpy()

    reference = sentences.vectors(in_torch)
    task = sentences.task(reference)
    ledger.begin(path.parent, task, reference, sentences.vectors(vectors.Graphs(path, sentences.seq_lens)))
    if sentences.filling:
        exact = sentences.exact().vectors(in_torch)
        distance = fidelity.compare(reference, exact, task.decisions(exact)[1], "exact ELMo", classes=False)
        lines, recipe = files.read_json(path.with_name("ledger.json")), {"stage": "recipe",
                                                                         "metrics": vectors.cosines(reference, exact)}
        files.write_json(path.with_name("ledger.json"), [*lines, {**recipe, "fidelity": distance}])
        print(f"the original's filling: cosine with the exact answer {distance['cosine_mean']:.4f} in the mean, "
              f"{distance['cosine_min']:.4f} at worst; largest difference {distance['max_abs']:.3f}")


if __name__ == "__main__":
    command.run(main)
