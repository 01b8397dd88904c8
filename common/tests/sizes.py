"""Whether the original's speed stands beside a network of so many parameters, for the models' tests."""
from pathlib import Path

import torch
import transformers

from npukit.files import read_json
from npukit.judge import table


def stands_beside(model: Path, parameters: int) -> bool:
    """Return whether the table has an original/s for a network of this size, at the original's own length and batch size."""
    quoted = read_json(model / "original.json")
    made = {"original": quoted, "weights": {"parameters": parameters}, "seq_lens": [quoted.get("seq_len", 50)],
            "batch_size": quoted["rows"][0]["batch_size"]}
    return table.original_speed(made) is not None


def bert(task: str, labels: int, **config) -> int:
    """Return how many parameters a BERT for a task has, BERT-base-cased where config does not say otherwise."""
    with torch.device("meta"):
        made = getattr(transformers, f"BertFor{task}")(transformers.BertConfig(**{"vocab_size": 28996, **config,
                                                                                  "num_labels": labels}))
    return made.num_parameters()


def bert_of(task: str, labels: int, folder: Path) -> int:
    """Return how many parameters a BERT for a task has by the config.json of a folder."""
    return bert(task, labels, **read_json(folder / "config.json"))
