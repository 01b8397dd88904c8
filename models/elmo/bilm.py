"""The bidirectional language model of ELMo, stateless and masked, written so that it exports as one static graph.

Equal to allennlp's Elmo with one representation, its state reset before each batch. What is done otherwise:

* `<S>` and `</S>` are the same in every sentence and their outputs are dropped. So neither is spelled out or run: each
  direction begins in the state that its boundary token leaves behind, which is computed once.
* The input products of all words are one matrix product, before the steps; a step is one product for all four gates.
* The backward direction waits in its first state for the sentence's last word; allennlp cuts the batch down instead.

Source  allenai/allennlp 2.10.1, modules/elmo.py, elmo_lstm.py, lstm_cell_with_projection.py, highway.py; arXiv 1802.05365
"""
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from characters import BEGIN, END, spell

Weights = dict[str, np.ndarray]  # by the data sets' names in the HDF5 file, see bilm_files


class CharacterEncoder(nn.Module):
    """A word's characters to its vector, out of context: convolutions, highway layers, projection."""

    def __init__(self, options: dict, weights: Weights):
        super().__init__()
        cnn = options["char_cnn"]
        self.activation = {"relu": torch.relu, "tanh": torch.tanh}[cnn["activation"]]
        no_character = np.zeros((1, cnn["embedding"]["dim"]), np.float32)  # id 0
        self.register_buffer("characters", torch.from_numpy(np.concatenate([no_character, weights["char_embed"]])))
        self.convolutions = nn.ModuleList(convolution(weights[f"CNN/W_cnn_{i}"], weights[f"CNN/b_cnn_{i}"])
                                          for i in range(len(cnn["filters"])))
        # Both halves of a highway layer are one product: what is new, and how much of it is taken.
        halves = [[[f"CNN_high_{k}/{kind}_{half}" for half in ("transform", "carry")] for kind in "Wb"]
                  for k in range(cnn["n_highway"])]
        self.highways = nn.ModuleList(linear(*(np.concatenate([weights[name] for name in pair], -1) for pair in layer))
                                      for layer in halves)
        self.projection = linear(weights["CNN_proj/W_proj"], weights["CNN_proj/b_proj"])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of words: int [M, C] -> float32 [M, P]."""
        x = functional.embedding(ids.long(), self.characters).transpose(1, 2).unsqueeze(2)
        x = torch.cat([self.activation(convolve(x).amax((2, 3))) for convolve in self.convolutions], 1)
        for highway in self.highways:
            new, taken = highway(x).chunk(2, 1)
            taken = torch.sigmoid(taken)
            x = taken * torch.relu(new) + (1 - taken) * x
        return self.projection(x)


def convolution(weight: np.ndarray, bias: np.ndarray) -> nn.Conv2d:
    """Return a convolution over characters, as one of height 1, which ATC converts: [1, width, in, out] -> [out, in, 1, width]."""
    _, width, channels, filters = weight.shape
    return filled(nn.utils.skip_init(nn.Conv2d, channels, filters, (1, width)), weight.transpose(3, 2, 0, 1), bias)


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """Return x W + b for weight [in, out]."""
    return filled(nn.utils.skip_init(nn.Linear, *weight.shape), weight.T, bias)


def filled(layer: nn.Module, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    layer.load_state_dict({"weight": torch.from_numpy(np.ascontiguousarray(weight)), "bias": torch.from_numpy(bias)})
    return layer.requires_grad_(False)


class Lstm(nn.Module):
    """One layer in one direction: an LSTM whose cells are clipped, and whose output is projected and clipped.

    weight  float32 [P + P, 4H]: from the input and from the last output, to the gates: input, new, forget, output
    bias    float32 [4H]; projection float32 [H, P]
    """

    def __init__(self, options: dict, weight: np.ndarray, bias: np.ndarray, projection: np.ndarray):
        super().__init__()
        self.cells, self.width = projection.shape
        self.cell_clip, self.output_clip = options["cell_clip"], options["proj_clip"]
        forget_bias = np.repeat(np.float32([0, 0, 1, 0]), self.cells)  # TensorFlow adds it, and the file leaves it out
        arrays = {"from_input": weight[:self.width], "from_output": weight[self.width:], "bias": bias + forget_bias,
                  "projection": projection}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))

    def begin(self, boundary: torch.Tensor) -> torch.Tensor:
        """Keep the state behind the boundary token, with which every sentence begins; return its output, [1, P]."""
        output, cell = self.step(boundary @ self.from_input + self.bias, torch.zeros(1, self.cells))
        for name, value in (("output", output), ("cell", cell), ("gates", output @ self.from_output)):
            self.register_buffer(f"first_{name}", value)
        return output

    def step(self, gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (output [N, P], cell [N, H]) from the gates' sums [N, 4H] and the cell before."""
        enter, new, forget, leave = gates.split(self.cells, 1)
        cell = clipped(torch.sigmoid(enter) * torch.tanh(new) + torch.sigmoid(forget) * cell, self.cell_clip)
        return clipped((torch.sigmoid(leave) * torch.tanh(cell)) @ self.projection, self.output_clip), cell

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Run the layer over [L, N, P] and return as much: forward, or, where there is a mask bool [L, N, 1], backward.

        Forward, nothing behind a sentence's end can reach its words. Backward, the first state is kept until its last word.
        """
        length = x.shape[0]
        sums = (x.reshape(-1, self.width) @ self.from_input + self.bias).reshape(length, -1, 4 * self.cells).unbind(0)
        output, cell, outputs = self.first_output, self.first_cell, [None] * length
        steps = range(length) if mask is None else range(length - 1, -1, -1)
        for count, place in enumerate(steps):
            last = output, cell
            gates = sums[place] + (output @ self.from_output if count else self.first_gates)
            output, cell = self.step(gates, cell)
            if mask is not None:
                output, cell = (torch.where(mask[place], new, old) for new, old in zip((output, cell), last))
            outputs[place] = output
        return torch.stack(outputs)


def clipped(x: torch.Tensor, limit: float | None) -> torch.Tensor:
    return x.clamp(-limit, limit) if limit else x


class BiLm(nn.Module):
    """Characters to ELMo's word vectors; no state is kept from one call to the next.

    mix    layers + 1 numbers, the weights of the scalar mix before softmax; the original leaves them at 0
    gamma  what the mix is multiplied by
    """

    def __init__(self, options: dict, weights: Weights, mix: list[float] | None = None, gamma: float = 1.0):
        super().__init__()
        layers = options["lstm"]["n_layers"]
        self.encoder = CharacterEncoder(options, weights)
        cell = "RNN_{}/RNN/MultiRNNCell/Cell{}/LSTMCell/{}"
        self.directions = nn.ModuleList(nn.ModuleList(
            Lstm(options["lstm"], *(weights[cell.format(direction, layer, name)] for name in ("W_0", "B", "W_P_0")))
            for layer in range(layers)) for direction in range(2))
        self.mix = (gamma * torch.softmax(torch.tensor(mix or [0.0] * (layers + 1)), 0)).tolist()
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Compute the states in which every sentence begins."""
        for direction, token in zip(self.directions, (BEGIN, END)):
            x = self.encoder(torch.from_numpy(spell([token]))[None])
            for layer, lstm in enumerate(direction):
                x = lstm.begin(x) + (x if layer else 0)

    def activations(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what each layer gives, float32 [N, L, 2P] each: the words out of context, twice, then the LSTM's layers.

        Behind a sentence's last word all are 0.
        """
        _, length, characters = ids.shape
        mask = (ids > 0).any(2).unsqueeze(2)
        words = self.encoder(ids.reshape(-1, characters)).reshape(-1, length, self.encoder.projection.out_features)
        layers = [(words, words)]
        backward = mask.transpose(0, 1)
        for layer, (ahead, back) in enumerate(zip(*self.directions)):
            before = layers[-1]
            after = tuple(lstm(x.transpose(0, 1), waits).transpose(0, 1)
                          for lstm, x, waits in zip((ahead, back), before, (None, backward)))
            layers.append(tuple(a + b for a, b in zip(after, before)) if layer else after)
        return [torch.cat(pair, 2) * mask for pair in layers]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the word vectors: int32 [N, L, C], 0 behind a sentence's last word -> float32 [N, L, 2P], 0 there as well."""
        return sum(weight * layer for weight, layer in zip(self.mix, self.activations(ids)))
