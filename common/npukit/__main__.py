"""What the makefiles call: python -m npukit <verb>. `why`, `soc`, `idle` and `doctor` need nothing but Python, 3.8 or newer."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from npukit.command import run
from npukit.errors import JobFailed


def main() -> int | None:
    verbs = {"stage": stage, "batch": batch, "results": results, "ledger": ledger, "fetch": fetch, "soc": soc, "idle": idle, "why": why,
             "doctor": doctor}
    parser = argparse.ArgumentParser(prog="npukit", description=__doc__)
    parser.add_argument("verb", choices=verbs)
    verb = verbs[parser.parse_args(sys.argv[1:2]).verb]
    return verb(argparse.ArgumentParser(prog=f"npukit {verb.__name__}", description=verb.__doc__), sys.argv[2:])


def stage(parser, arguments) -> None:
    """Run one stage's command in a fresh folder and put the folder in place if it succeeds."""
    from npukit import stage

    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--versions", default="", help="of the tools; the stage is stale when they differ")
    parser.add_argument("--places", default="", metavar="'FOLDER=NAME ...'", help="what the places in the command are called in its key")
    parser.add_argument("--chip", action="store_true", help="the command needs a chip")
    parser.add_argument("--idle", type=int, metavar="DEVICE", help="refuse to run while anything else is on the device")
    parser.add_argument("--show", action="store_true", help="show what the command prints while it runs")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(arguments)
    command = args.command[args.command[:1] == ["--"]:]  # argparse hands the separator on
    places = dict(place.rsplit("=", 1) for place in args.places.split())
    stage.run(args.into, command, versions=args.versions, places=places, chip=args.chip, idle=args.idle, show=args.show)


def batch(parser, arguments) -> None:
    """Put samples of differing lengths into whole batches of one gear each."""
    from npukit import ragged

    parser.add_argument("--inputs", type=Path, required=True, help="what preprocess.py wrote")
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    ragged.write_batches(args.inputs, args.batch_size, args.output)


def results(parser, arguments) -> None:
    """Print the table of all reports under OUT; fail if --judge and a gate is missed or answers disagree."""
    from npukit import report

    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", nargs="*", metavar="REPORT", type=Path, help="only these reports; exit 1 if one fails")
    args = parser.parse_args(arguments)
    if args.judge is None:
        reports = report.read_all(args.out)
        print(report.table(reports) if reports else f"no report under {args.out} yet; run make all")
        return
    reports = report.read(args.judge)
    print(report.table(reports))
    failed = [f"{r['model']} at batch size {r['batch_size']}" for r in reports if not r["passes"]]
    if problems := report.disagreements(reports) + [f"{name} misses a bar" for name in failed]:
        raise JobFailed("; ".join(problems))


def ledger(parser, arguments) -> None:
    """Print the ledgers of reports: what each form of the network scores, and how far it is from PyTorch."""
    from npukit import report

    parser.add_argument("reports", type=Path, nargs="+")
    print("\n\n".join(map(report.ledger, report.read(parser.parse_args(arguments).reports))))


def fetch(parser, arguments) -> None:
    """Bring what the models' assets.toml name to DATA, from LOCAL by digest or from their sources."""
    from npukit import assets

    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--local", type=Path)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("manifests", type=Path, nargs="+")
    args = parser.parse_args(arguments)
    for manifest in args.manifests:
        for line in assets.fetch(assets.manifest(manifest), args.data, args.local, args.profile):
            print(line)


def soc(parser, arguments) -> None:
    """Print the --soc_version of this machine's chips."""
    from npukit import device

    parser.parse_args(arguments)
    print(device.soc_version())


def idle(parser, arguments) -> None:
    """Exit with 75 and say who is there if the device is busy."""
    from npukit import device

    parser.add_argument("device", type=int)
    device.require_idle(parser.parse_args(arguments).device)


def doctor(parser, arguments) -> None:
    """Say what this machine or container has for a job, and how to mend what it lacks."""
    from npukit import doctor

    parser.parse_args(arguments)
    doctor.main()


def why(parser, arguments) -> None:
    """Read `make -n --debug=basic` on stdin and print which prerequisite makes each stage stale."""
    from npukit.why import reasons

    parser.add_argument("out", type=Path)
    out = parser.parse_args(arguments).out
    lines = list(reasons(sys.stdin, out))
    print("\n".join(lines) if lines else f"{out.name} is up to date")


run(main)
