"""BiLSTM-CRF for CLUENER: the network of the original, its CRF, and the form that is exported.

Shapes: N sentences, L characters, T = 33 tags, H = 384 a direction.
Source: CLUENER2020 2e8fccd, bilstm_crf_pytorch/model.py; parameters carry the same names, so its checkpoints load.
"""
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cluener import TAGS
from crf_decode import START, STOP

EMBEDDING, HIDDEN, LAYERS = 128, 384, 2
IMPOSSIBLE = -10000.0  # a transition into <START> or out of <STOP>; finite in half precision


class Crf(nn.Module):
    """A linear chain; transitions[to, from] is added for each step, <START> and <STOP> included."""

    def __init__(self, tags: int = len(TAGS)):
        super().__init__()
        transitions = torch.randn(tags, tags)
        transitions[START, :] = IMPOSSIBLE
        transitions[:, STOP] = IMPOSSIBLE
        self.transitions = nn.Parameter(transitions)

    def loss(self, features: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of the tags.

        features  float32 [N, L, T], all sentences L characters long
        tags      int64 [N, L]
        """
        scores = features[:, 0] + self.transitions[:, START]  # [N, T], over paths that end in each tag
        for step in features[:, 1:].unbind(1):
            scores = torch.logsumexp(scores[:, None, :] + self.transitions, dim=2) + step
        everything = torch.logsumexp(scores + self.transitions[STOP], dim=1)
        bounded = nn.functional.pad(nn.functional.pad(tags, (1, 0), value=START), (0, 1), value=STOP)
        path = features.gather(2, tags[..., None]).sum((1, 2)) + self.transitions[bounded[:, 1:],
                                                                                  bounded[:, :-1]].sum(1)
        return (everything - path).mean()


class BiLstmCrf(nn.Module):
    """Characters to tag scores; dropout is none but in training."""

    def __init__(self, vocabulary: int, embedding: int = EMBEDDING, hidden: int = HIDDEN, dropout: float = 0.0):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.bilstm = nn.LSTM(embedding, hidden, LAYERS, batch_first=True, bidirectional=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(2 * hidden)
        self.classifier = nn.Linear(2 * hidden, len(TAGS))
        self.crf = Crf()

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return features float32 [N, L, T].

        ids   int64 [N, L], 0 in the padding
        mask  int64 [N, L], 1 for characters, 0 for padding behind them; None: there is no padding

        The LSTM never sees the padding, so a sentence's features are the same whatever it is padded to. Those of the
        padding itself mean nothing.
        """
        embedded = self.dropout(self.embedding(ids))
        if mask is None:
            states, _ = self.bilstm(embedded)
        else:
            packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.bilstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        return self.classifier(self.dropout(self.layer_norm(states)))


class ExportForm(nn.Module):
    """The same network for ONNX: a length mask that holds on any LSTM, without sequence lengths or packing.

    Each LSTM layer reads one more input, 1 in the padding and 0 elsewhere, whose weight shuts the input, forget and
    output gates: while the backward direction walks through the padding its state stays zero, as if the sentence
    began there. The weight is finite in half precision.
    """

    SHUT = -10000.0

    def __init__(self, net: BiLstmCrf):
        super().__init__()
        self.net = net
        self.layers = nn.ModuleList(self.layer(net.bilstm, number) for number in range(LAYERS))

    @classmethod
    def layer(cls, bilstm: nn.LSTM, number: int) -> nn.LSTM:
        """Return one bidirectional layer with the padding's column added to its input weights [4 H, inputs]."""
        inputs = bilstm.input_size if number == 0 else 2 * bilstm.hidden_size
        layer = nn.LSTM(inputs + 1, bilstm.hidden_size, batch_first=True, bidirectional=True)
        shut = torch.tensor([cls.SHUT, cls.SHUT, 0.0, cls.SHUT]).repeat_interleave(bilstm.hidden_size)  # gates i f g o
        state = {}
        for side in ("", "_reverse"):
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                state[f"{part}_l0{side}"] = getattr(bilstm, f"{part}_l{number}{side}").detach()
            state[f"weight_ih_l0{side}"] = torch.cat([state[f"weight_ih_l0{side}"], shut[:, None]], dim=1)
        layer.load_state_dict(state)
        return layer

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return features float32 [N, L, T] from int64 ids and mask [N, L]."""
        padding = 1.0 - mask.unsqueeze(2).float()
        states = self.net.embedding(ids)
        for layer in self.layers:
            states, _ = layer(torch.cat([states, padding], dim=2))
        return self.net.classifier(self.net.layer_norm(states))
