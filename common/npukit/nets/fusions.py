"""Which of CANN's fusions a BERT in canonical form can hit at a batch size and a length, and why not: what documents say.

No chip has confirmed a word of this. The conditions are those of the passes' source of June 2022, the last that was
open; today's are closed. The graph itself meets the rest of them, as npukit.graph.canonical checks.

AttentionScore   scores, mask, Softmax and weighted sum of a block as one operator. Doubt: the source wants the Softmax
                 in half precision at a moment when a graph of float32 may not have it yet; vendor's guides of 2026
                 describe it as working
AttentionLnQKV   a LayerNorm and the three projections behind it as one operator. Doubt: the kernel of CANN 8.1 takes
                 more shapes, so that today's pass is likely looser
LayerNorm        its nine nodes as one, at any length

Source  canndev 7d77ce32d054, ops/built-in/fusion_pass/graph_fusion/ai_core: attention_score_fusion_pass.cc:366-414,
        attention_ln_qkv_onnx_fusion_pass.cc:132-230, layer_norm_onnx_fusion_pass.cc; users' fusion_result.json of CANN
        8.0 on 310P show LayerNorm fused, 30 of 30
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from npukit.errors import UserError

STEP = 32  # of the lengths at which attention is fused
LONGEST = 512
SURE = "by CANN's source of 2022, which no chip has confirmed"


@dataclass(frozen=True)
class Attention:
    """So many heads of this size; hidden is the width of the residual flow."""

    heads: int
    head_size: int

    @property
    def hidden(self) -> int:
        return self.heads * self.head_size


def row(net: Attention, batch_size: int, length: int) -> dict:
    """Return what the report says of one gear: length, which fusions it can hit, and for each other one why not."""
    why_not = {"AttentionScore": attention_score(net, batch_size, length),
               "AttentionLnQKV": attention_ln_qkv(net, batch_size, length),
               "LayerNorm": None}
    return {"length": length, "fused": {fusion: why is None for fusion, why in why_not.items()},
            "why_not": {fusion: why for fusion, why in why_not.items() if why}}


def attention_score(net: Attention, batch_size: int, length: int) -> str | None:
    """Return why AttentionScore is not hit, None where it is."""
    if net.heads not in (12, 16) or net.head_size != 64:
        return f"{net.heads} heads of {net.head_size}, expected 12 or 16 of 64"
    if batch_size > 128 or batch_size * net.heads % 8:
        return f"batch size {batch_size} times {net.heads} heads, expected a multiple of 8 and a batch size up to 128"
    if length % STEP or length > LONGEST:
        return f"length {length}, expected a multiple of {STEP} up to {LONGEST}"
    return None


def attention_ln_qkv(net: Attention, batch_size: int, length: int) -> str | None:
    """Return why AttentionLnQKV is not hit, None where it is."""
    if net.hidden not in (768, 1024):
        return f"hidden size {net.hidden}, expected 768 or 1024"
    if batch_size * length % 1536 and batch_size * length % 2048:
        return f"{batch_size * length} tokens in a batch, expected a multiple of 1536 or 2048"
    blocks, rest = divmod(length, 16)
    if rest or not any(blocks % group == 0 or group % blocks == 0 for group in (8, 12)):
        return f"length {length}, expected 16 times a divisor or a multiple of 8 or 12"
    return None


def read(config: Path) -> Attention:
    """Return the attention of a Hugging Face config.json."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
        heads, hidden = int(told["num_attention_heads"]), int(told["hidden_size"])
        return Attention(heads, hidden // heads)
    except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError):
        raise UserError(f"{config} does not say num_attention_heads and hidden_size, which are expected of a BERT") from None


def described(net: Attention, batch_sizes: list[int], lengths: list[int]) -> list[str]:
    """Return a line for each batch size: at which lengths attention is fused, and why not at the first of the others.

    lengths  none where they are not chosen yet: those that SEQ_LENS=auto chooses among on a chip
    """
    what = f"lengths {' '.join(map(str, lengths))}" if lengths else f"auto, of the multiples of {STEP} up to {LONGEST}"
    lengths = lengths or list(range(STEP, LONGEST + 1, STEP))
    return [f"batch size {size}, {what}: " + "; ".join(at(fusion, [row(net, size, length) for length in lengths])
                                                       for fusion in ("AttentionScore", "AttentionLnQKV"))
            for size in batch_sizes]


def at(fusion: str, rows: list[dict]) -> str:
    """Return at which lengths a fusion is hit, in words."""
    fused = [str(each["length"]) for each in rows if each["fused"][fusion]]
    if len(fused) == len(rows):
        return f"{fusion} at all"
    why = next(each["why_not"][fusion] for each in rows if not each["fused"][fusion])
    return f"{fusion} at {' '.join(fused) or 'none'} ({why})"
