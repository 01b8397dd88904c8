"""transformers.pipeline on the samples of a run, timed beside it: what a BERT takes that is not compiled."""
import shlex
import tempfile
import time
from pathlib import Path

import numpy as np
import transformers

from npukit.corpus import store
from npukit.errors import UserError
from npukit.files import read_json
from npukit.judge import compare
from npukit.judge.report import Run

SIZES = (1, 4, 8, 16, 32)  # of its batches, each padded to its longest sample; the fastest counts


def beside(run: Run, task: str, tokenizer: Path, at_least: float, sizes: tuple[int, ...] = SIZES) -> None:
    """Time both from text to answers and print the rates; raise JobFailed where answers differ or the run is too slow.

    Tokenisation is in both times: of the run that is its whole preprocess stage. Loading the weights is in neither.

    task       text-classification or token-classification
    tokenizer  the folder that preprocess.py was given
    """
    samples = store.read(run.inputs)[1]
    texts, classify = texts_of(samples, tokenizer), pipeline(run, task, tokenizer)
    options = {"top_k": None, "function_to_apply": "none"} if task == "text-classification" else {}
    timed, best = compare.infer_again(run), 0.0
    ours = len(texts) / (preprocess_seconds(run) + timed.seconds)
    classify(texts[:1], **options)
    for size in sizes:
        began = time.perf_counter()
        answers = classify(texts, batch_size=size, **options)
        rate = len(texts) / (time.perf_counter() - began)
        print(f"pipeline, batch size {size}: {rate:.2f} samples/s", flush=True)
        compare.require_same(f"pipeline at batch size {size}",
                             *(logits_of if options else scores_of)(answers, timed.answers[0]))
        best = max(best, rate)
    compare.require_ratio("pipeline", best, ours, at_least)


def pipeline(run: Run, task: str, tokenizer: Path) -> transformers.Pipeline:
    """Return transformers' own pipeline with the weights that pth2onnx.py saved beside the graph."""
    if not (weights := run.export / "weights").is_dir():
        raise UserError(f"{weights} is not there: pth2onnx.py saves weights in it where they are random; take a run of PROFILE=random")
    kind = {"text-classification": "BertForSequenceClassification",
            "token-classification": "BertForTokenClassification"}[task]
    transformers.logging.disable_progress_bar()
    more = {"ignore_labels": []} if task == "token-classification" else {}
    return transformers.pipeline(task, model=getattr(transformers, kind).from_pretrained(weights), device="cpu",
                                 tokenizer=transformers.AutoTokenizer.from_pretrained(tokenizer), **more)


def texts_of(samples: store.Samples, folder: Path) -> list[str]:
    """Return texts that become just these samples' input_ids, [CLS] and [SEP] included, once they are tokenized."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = [row.tolist() for row in np.split(samples.flat["input_ids"], samples.starts[1:])]
    texts = tokenizer.batch_decode([row[1:-1] for row in rows], clean_up_tokenization_spaces=False)
    if wrong := [text for text, row, made in zip(texts, rows, tokenizer(texts)["input_ids"]) if row != made]:
        raise UserError(f"{len(wrong)} samples are not what {folder} makes of a text, first {wrong[0][:80]!r}; "
                        "give the tokenizer that the run was made with")
    return texts


def preprocess_seconds(run: Run) -> float:
    """Return the seconds that the run's preprocess stage takes, by the clock, run again in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        compare.call(shlex.split(read_json(run.inputs / "record.json")["command"]), Path(folder))
        return time.perf_counter() - began


def logits_of(answers: list, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pipeline's logits [samples, T] of texts, and ours."""
    return np.array([[score["score"] for score in sorted(answer, key=lambda score: score["label"])]
                     for answer in answers]), ours


def scores_of(answers: list, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the best tag of every word piece, [pieces], as the pipeline gives it, and as our logits do."""
    theirs = np.array([piece["score"] for answer in answers for piece in answer])
    pieces = np.array([[sample, piece["index"]] for sample, answer in enumerate(answers) for piece in answer])
    logits = ours[pieces[:, 0], pieces[:, 1]]
    return theirs, 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
