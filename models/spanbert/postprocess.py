#!/usr/bin/env python3
"""Turn start and end logits into answers, score them as SQuAD does, and write the report.

README, "Accuracy". Exact match and F1 are the official script's, to the last digit.

Reads   --inputs              preprocess.py's folder; or, as in the original, --dev_file and --model, with the same flags as
                              preprocess.py: they make the same windows once more
        --bin_dir             what ais_bench or msame made: 0_0.bin, 0_output_0.bin or .npy ..., float32 [batch size, L], start (0)
                              and end (1) logits of whole batches
        with --report: the folders of the stages before, found from --run
Writes  --output_dir   predictions.json, nbest_predictions.json
        with --do_eval result/result_bs<N>.json, exact_match and f1 in percent, as in the original's README
        with --report: report.json
Source  ModelZoo-PyTorch 031260b, ACL_PyTorch/contrib/nlp/SpanBERT/spanBert_postprocess.py
"""
import argparse
from pathlib import Path

import answers
import outputs
import squad
import window_files
import windows
from npukit import command, files
from npukit.corpus import batches, store
from npukit.errors import UserError
from npukit.judge import report


def main() -> None:
    args = options()
    corpus = window_files.read(args.inputs)[0] if args.inputs else windows.Corpus(windows.recipe_of(args))
    logits = outputs.read(args.bin_dir, corpus, args.eval_batch_size, *made_by(args.run))
    best = answers.predict(corpus, logits, args.n_best_size, args.max_answer_length)
    predictions = {name: found[0]["text"] for name, found in best.items()}
    files.write_json(args.output_dir / "predictions.json", predictions)
    files.write_json(args.output_dir / "nbest_predictions.json", best)
    if not args.do_eval:
        return
    result = squad.score(corpus.paragraphs, predictions)
    files.write_json(args.output_dir / "result" / f"result_bs{args.eval_batch_size}.json", {**result, "total": len(predictions)})
    print(f"{args.eval_metric} = {result[args.eval_metric]}")
    if args.report:
        report.finish(args, answers.task(corpus), logits, args.eval_metric, {name: value / 100 for name, value in result.items()},
                      args.output_dir / "predictions.json", store.read_seq_lens(args.run.parent / "inputs"))


def options() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--do_eval", action="store_true", help="score the answers")
    windows.add_options(parser, required=False)
    parser.add_argument("--inputs", type=Path, help="preprocess.py's folder, instead of the flags of the windows")
    parser.add_argument("--bin_dir", type=Path, required=True)
    parser.add_argument("--eval_batch_size", type=int, default=1, help="of the outputs")
    parser.add_argument("--eval_metric", choices=("f1", "exact_match"), default="f1", help="the figure that is printed and judged")
    parser.add_argument("--n_best_size", type=int, default=20)
    parser.add_argument("--max_answer_length", type=int, default=30, help="word pieces in an answer, at most")
    parser.add_argument("--output_dir", type=Path, default=Path("."))
    parser.add_argument("--fp16", action="store_true", help="changes nothing: the outputs are float32 whatever the chip calculates in")
    report.add_options(parser, __file__)
    args = parser.parse_args()
    if not args.inputs and not (args.dev_file and args.model):
        raise UserError("give --inputs, preprocess.py's folder, or --dev_file and --model")
    if args.version_2_with_negative:
        raise UserError("--version_2_with_negative: only SQuAD 1.1 is scored here; preprocess.py prepares version 2")
    if min(args.eval_batch_size, args.n_best_size, args.max_answer_length) < 1:
        raise UserError("--eval_batch_size, --n_best_size and --max_answer_length are 1 or more")
    if args.report and not (args.run and args.do_eval):
        raise UserError("--report needs --do_eval and --run, the folder that the report is about")
    return args


def made_by(run: Path | None) -> tuple:
    """Return the order of the batches that a run's infer stage made, and its gears."""
    return (batches.order_of(run / "infer" / "outputs"), store.read_seq_lens(run.parent / "inputs")) if run else ()


if __name__ == "__main__":
    command.run(main)
