"""What documents say ATC fuses: each condition from both sides, and how it is shown."""
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.errors import UserError
from npukit.nets import fusions

BASE, LARGE, TINY = fusions.Attention(12, 64), fusions.Attention(16, 64), fusions.Attention(4, 8)


@pytest.mark.parametrize("net, batch_size, length, why", [
    (BASE, 2, 32, None), (BASE, 8, 512, None), (BASE, 128, 128, None), (LARGE, 1, 64, None),
    (BASE, 1, 128, "batch size 1 times 12 heads"), (BASE, 130, 128, "batch size 130"), (BASE, 8, 48, "length 48"),
    (BASE, 8, 544, "length 544"), (TINY, 8, 64, "4 heads of 8"), (fusions.Attention(12, 32), 8, 64, "12 heads of 32"),
    (fusions.Attention(24, 64), 8, 64, "24 heads of 64")])
def test_attention_score(net, batch_size, length, why):
    found = fusions.attention_score(net, batch_size, length)
    assert (found is None) if why is None else found.startswith(why)


@pytest.mark.parametrize("net, batch_size, length, why", [
    (BASE, 12, 128, None), (BASE, 16, 128, None), (LARGE, 8, 256, None), (BASE, 16, 96, None), (BASE, 4, 384, None),
    (TINY, 12, 128, "hidden size 32"), (BASE, 8, 128, "1024 tokens in a batch"), (BASE, 48, 224, "length 224"),
    (BASE, 48, 320, "length 320"), (BASE, 192, 8, "length 8")])
def test_attention_ln_qkv(net, batch_size, length, why):
    found = fusions.attention_ln_qkv(net, batch_size, length)
    assert (found is None) if why is None else found.startswith(why)


@given(st.sampled_from([BASE, LARGE, TINY]), st.integers(1, 256), st.integers(1, 600))
def test_a_row_says_why_of_all_that_is_not_fused_and_of_nothing_else(net, batch_size, length):
    row = fusions.row(net, batch_size, length)
    assert {fusion for fusion, fused in row["fused"].items() if not fused} == set(row["why_not"])
    assert row["length"] == length and row["fused"]["LayerNorm"]


def test_what_is_shown():
    assert fusions.described(BASE, [1, 8], [20, 64]) == [
        "batch size 1, lengths 20 64: AttentionScore at none (batch size 1 times 12 heads, expected a multiple of 8 and a batch size up "
        "to 128); AttentionLnQKV at none (20 tokens in a batch, expected a multiple of 1536 or 2048)",
        "batch size 8, lengths 20 64: AttentionScore at 64 (length 20, expected a multiple of 32 up to 512); "
        "AttentionLnQKV at none (160 tokens in a batch, expected a multiple of 1536 or 2048)"]
    [auto] = fusions.described(BASE, [8], [])
    assert auto.startswith("batch size 8, auto, of the multiples of 32 up to 512: AttentionScore at all; "
                           "AttentionLnQKV at 192 256 384 512 (")


def test_the_command(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"num_attention_heads": 12, "hidden_size": 768}))
    title, *lines = npukit(config, "--lengths", "32,128").stdout.splitlines()
    assert title.endswith("by CANN's source of 2022, which no chip has confirmed:") and len(lines) == 2
    assert lines[1].startswith("  m, batch size 16, lengths 32 128: AttentionScore at all; AttentionLnQKV at 128 (")
    done = npukit(config, "--lengths", "many")
    assert done.returncode == 2 and "SEQ_LENS='many'; expected auto, or lengths" in done.stderr


def npukit(config, *more):
    command = [sys.executable, "-m", "npuops", "fusions", config, "--model", "m", "--batch_sizes", "8", "16", *more]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("text", [None, "[", "[]", "{}", '{"num_attention_heads": 0, "hidden_size": 8}'])
def test_what_is_no_bert(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json does not say num_attention_heads and hidden_size"):
        fusions.read(tmp_path / "config.json")
