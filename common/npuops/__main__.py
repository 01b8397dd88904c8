"""What the makefiles call: python -m npuops <verb>. `why`, `soc`, `idle`, `fusions` and `doctor` need nothing but Python, 3.8 or newer."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from npukit.command import run
from npukit.errors import JobFailed, UserError


def main() -> int | None:
    verbs = {verb.__name__.replace("_", "-"): verb for verb in (
        stage, results, ledger, fetch, fetch_list, bundle, unbundle, publish, verify_published, soc, idle, why,
        fusions, differences, first_light, facts, cluster, doctor, new)}
    parser = argparse.ArgumentParser(prog="npuops", description=__doc__)
    parser.add_argument("verb", choices=verbs)
    verb = verbs[parser.parse_args(sys.argv[1:2]).verb]
    return verb(argparse.ArgumentParser(prog=f"npuops {verb.__name__.replace('_', '-')}", description=verb.__doc__),
                sys.argv[2:])


def stage(parser, arguments) -> None:
    """Run one stage's command in a fresh folder and put the folder in place if it succeeds."""
    from npuops.stage import run as stage

    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--target", default="record.json", help="the file in it that make looks at")
    parser.add_argument("--run", default="", metavar="'NAME=VALUE ...'",
                        help="model, soc, standin, profile, batch_size, for record.json")
    parser.add_argument("--versions", default="", help="of the tools; the stage is stale when they differ")
    parser.add_argument("--places", default="", metavar="'FOLDER=NAME ...'",
                        help="what the places in the command are called in its key")
    parser.add_argument("--chip", action="store_true", help="the command needs a chip")
    parser.add_argument("--idle", type=int, metavar="DEVICE", help="refuse to run while anything else is on the device")
    parser.add_argument("--show", action="store_true", help="show what the command prints while it runs")
    parser.add_argument("--shared", action="store_true",
                        help="jobs on other hosts may run this very stage at the same time")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(arguments)
    command = args.command[args.command[:1] == ["--"]:]  # argparse hands the separator on
    run_stage = stage.run_shared if args.shared else stage.run
    places = dict(place.rsplit("=", 1) for place in args.places.split())
    run_stage(args.into, command, versions=args.versions, places=places, target=args.target, chip=args.chip,
              idle=args.idle,
              show=args.show, run=stage.identity(args.run))


def results(parser, arguments) -> None:
    """Print the table of all reports under OUT; fail if --judge and a gate is missed or answers disagree."""
    from npukit.judge import report, table
    from npuops import places

    parser.add_argument("out", type=Path)
    parser.add_argument("--judge", nargs="*", metavar="REPORT", type=Path,
                        help="only these reports; exit 1 if one fails")
    args = parser.parse_args(arguments)
    if args.judge is None:
        reports = report.read(places.reports(args.out))
        print(table.results(reports, sys.stdout.isatty()) if reports
              else f"no report under {args.out} yet; run make all")
        return
    reports = report.read(args.judge)
    print(table.results(reports, sys.stdout.isatty()))
    failed = [f"{r['model']} at batch size {r['batch_size']}" for r in reports if not r["passes"]]
    if problems := report.disagreements(reports) + [f"{name} misses a bar" for name in failed]:
        raise JobFailed("; ".join(problems))


def ledger(parser, arguments) -> None:
    """Print the ledgers of reports: what each form of the network scores, and how far it is from PyTorch."""
    from npukit.judge import report, table

    parser.add_argument("reports", type=Path, nargs="*")
    paths = parser.parse_args(arguments).reports
    if not paths:
        raise UserError("there is no report yet; run make all first, with the same MODEL, PROFILE, SOC and BS")
    print("\n\n".join(table.ledger(made, sys.stdout.isatty()) for made in report.read(paths)))


def fetch(parser, arguments) -> None:
    """Bring what the models' assets.toml name to DATA: from LOCAL, from MIRROR, from their sources; verified."""
    from npuops.assets.fetch import fetch
    from npuops.assets.manifest import wanted

    args = asset_options(parser).parse_args(arguments)
    fetch(wanted(args.manifests, args.profile), args.data, args.local, os.environ.get("MIRROR"), args.accept.split())


def fetch_list(parser, arguments) -> None:
    """Print what is there of what the models' assets.toml name, what is missing, sizes, licences and sources."""
    from npuops.assets.manifest import listing

    args = asset_options(parser).parse_args(arguments)
    print(listing(args.manifests, args.data, args.profile))


def bundle(parser, arguments) -> None:
    """Write what the models' assets.toml name, and DATA has, to one verified tarball."""
    from npuops.assets import bundle
    from npuops.assets.manifest import wanted

    args = asset_options(parser).parse_args(arguments)
    print("\n".join(bundle.pack(wanted(args.manifests, args.profile), args.data, args.bundle)))


def unbundle(parser, arguments) -> None:
    """Put what a bundle holds into place below DATA, verified."""
    from npuops.assets import bundle
    from npuops.assets.manifest import wanted

    args = asset_options(parser).parse_args(arguments)
    print("\n".join(bundle.unpack(args.bundle, wanted(args.manifests), args.data)))


def asset_options(parser):
    """Add what the verbs about assets share. An address may hold a secret: MIRROR and DEST are environment variables only."""
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--local", type=Path)
    parser.add_argument("--accept", default="", help="words, a blank between them")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("manifests", type=Path, nargs="+")
    return parser


def publish(parser, arguments) -> None:
    """Send the runs' reports, predictions, logs and .om files to DEST, whole or not at all for a reader."""
    from npuops.assets.publish import publish

    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="out/<chip>/<profile>/<model>/bs<N>")
    folders = parser.parse_args(arguments).runs
    if not folders:
        raise UserError("there is no such run to publish; run make all first, with the same MODEL, PROFILE, SOC and BS")
    store = destination()
    for folder in folders:
        print(publish(folder, store))


def verify_published(parser, arguments) -> None:
    """Read every run at DEST back and compare each file with the index of its run."""
    from npuops.assets.publish import verify

    parser.parse_args(arguments)
    verify(destination())


def destination():
    from npuops.assets.stores import store

    if not os.environ.get("DEST"):
        raise UserError("DEST= says where results go: s3://bucket/prefix, or a folder")
    return store(os.environ["DEST"])


def soc(parser, arguments) -> None:
    """Print the --soc_version of this machine's chips."""
    from npuops.stage import device

    parser.parse_args(arguments)
    print(device.soc_version())


def idle(parser, arguments) -> None:
    """Exit with 75 and say who is there if the device is busy; else become the command, if one is given."""
    from npuops.stage import device

    parser.add_argument("device", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(arguments)
    device.require_idle(args.device)
    if args.command:
        os.execvp(args.command[0], args.command)


def doctor(parser, arguments) -> None:
    """Say what this machine or container has for a job, and how to mend what it lacks."""
    from npuops.stage import doctor

    parser.parse_args(arguments)
    doctor.main()


def why(parser, arguments) -> None:
    """Read `make -n --debug=basic` on stdin and print which prerequisite makes each stage stale."""
    from npuops.stage.why import reasons

    parser.add_argument("out", type=Path)
    out = parser.parse_args(arguments).out
    lines = list(reasons(sys.stdin, out))
    print("\n".join(lines) if lines else f"{out.name} is up to date")


def fusions(parser, arguments) -> None:
    """Print at which lengths ATC fuses a BERT's attention, a line a batch size, as documents say."""
    from npukit.nets import fusions

    parser.add_argument("config", type=Path, help="config.json of the network")
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch_sizes", type=int, nargs="+", required=True)
    parser.add_argument("--lengths", default="",
                        help="lengths with blanks or commas; what auto chooses among on a chip if not given")
    args = parser.parse_args(arguments)
    try:
        lengths = [int(length) for length in args.lengths.replace(",", " ").split()]
    except ValueError:
        raise UserError(f"SEQ_LENS='{args.lengths}'; expected auto, or lengths such as 128 or '32 64 128'") from None
    print(f"attention that ATC fuses on a 310P, {fusions.SURE}:")
    for line in fusions.described(fusions.read(args.config), args.batch_sizes, lengths):
        print(f"  {args.model}, {line}")


def differences(parser, arguments) -> None:
    """Print the differences among observations of the conformance cases, by class and fact."""
    from npuops.light import differences

    parser.add_argument("observations", type=Path, nargs="+", help="what the cases saw, JSON lines")
    print(differences.text(differences.read(parser.parse_args(arguments).observations)))


def first_light(parser, arguments) -> None:
    """Run what the first hour on a chip is for, and write the tarball to send home."""
    from npuops.light import report as first_light_report
    from npuops.light import steps as first_light

    parser.add_argument("--root", type=Path, required=True, help="the checkout")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--soc", required=True)
    parser.add_argument("--standin", action="store_true", help="the stand-in answers in the chip's place")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--batches", nargs="+", type=int, required=True)
    parser.add_argument("--profile", help="the best that is there, if not given")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30, help="of NPU time, for this call")
    args = parser.parse_args(arguments)
    plan = first_light.Plan(args.root, args.out, args.soc, args.standin, tuple(args.models), tuple(args.batches),
                            args.profile, args.device)
    records = first_light.run(plan, args.minutes, lambda records: first_light_report.try_write(plan, records))
    path = first_light_report.write(plan, records)
    print(f"\n{(plan.place / 'report.md').read_text(encoding='utf-8')}\n{path}")
    first_light.judge(records)


def facts(parser, arguments) -> None:
    """Turn a tarball of first light into recorded cases and tables of cost, in the tree."""
    from npuops.light import facts

    parser.add_argument("tarball", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="the checkout")
    args = parser.parse_args(arguments)
    for path in facts.take(args.tarball, args.root):
        print(path)


def new(parser, arguments) -> None:
    """Make a model from one that is there."""
    from npuops import new

    parser.add_argument("models", type=Path, help="the folder of models")
    parser.add_argument("name")
    parser.add_argument("origin")
    args = parser.parse_args(arguments)
    print(f"{new.make(args.models, args.name, args.origin)} is made; `make MODEL={args.name} all` runs it")


def cluster(parser, arguments) -> int | None:
    """Plan, submit and follow jobs of a shared cluster."""
    from npuops.cluster import main

    return main.main(arguments)


run(main)
