"""python -m npuops cluster plan|submit|jobs|collect|cancel|check, which the Makefile calls; job and ended are called inside jobs.

What to submit is read from the environment, as the Makefile exports it: MODEL BS PROFILE SOC STANDIN CLUSTER SITE MAX_NPUS
SUBMISSION, and what it hands on; nothing is pasted into a shell.
"""
import argparse
import os
import secrets
import shutil
import sys
import time
from pathlib import Path

from npukit.errors import JobFailed, NpukitError, UserError
from npukit.files import aside, write_text
from npuops.cluster import argo, job, plan, records, site, slurm, volcano

CLUSTERS = {"slurm": slurm.Slurm, "argo": argo.Argo, "volcano": volcano.Volcano}


def main(arguments: list[str]) -> int | None:
    verbs = {"plan": show_plan, "submit": submit, "jobs": jobs, "collect": collect, "cancel": cancel, "check": check,
             "job": run_job, "ended": end_job}
    parser = argparse.ArgumentParser(prog="npuops cluster", description=__doc__)
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("--plan", type=Path, help="plan.json of a submission; else the environment says which")
    parser.add_argument("--task", help="the task that this job is")
    parser.add_argument("--code", type=int, default=0)
    args = parser.parse_args(arguments)
    return verbs[args.verb](args)


def known(cluster: str) -> str:
    if cluster == "kubernetes":
        raise UserError("Kubernetes itself keeps no order between jobs; say which engine keeps it there: CLUSTER=argo or CLUSTER=volcano")
    if cluster not in CLUSTERS:
        raise UserError(f"CLUSTER='{cluster}'; it is one of {', '.join(CLUSTERS)}")
    return cluster


def scheduler_of(made: plan.Plan):
    """Return the submission as its scheduler knows it."""
    return CLUSTERS[made.cluster](made)


# --- On the login node ---------------------------------------------------------------------------------------------------------------


def wanted() -> plan.Plan:
    """Return the plan that the environment asks for."""
    ask = os.environ.get
    root, cluster = Path(ask("ROOT", "")), known(ask("CLUSTER", ""))
    profile = site.read(Path(ask("SITE")) if ask("SITE") else None)
    limit = ask("MAX_NPUS") or None
    if limit is not None and not (limit.isdecimal() and int(limit) > 0):
        raise UserError(f"MAX_NPUS='{limit}'; it is a whole number from 1, or is not set")
    sizes = plan.requested(root, ask("MODEL", "").split(), ask("BS", ""), ask("PROFILE", ""))
    variables = {name: ask(name, "") for name in ("PROFILE", "SOC", "STANDIN", "DATA", "OUT_ROOT", "VENV")}
    if limit and not plan.on_chip(variables):
        raise UserError(f"MAX_NPUS={limit} bounds nothing: the stand-in, which SOC=cpu and STANDIN=1 mean, asks for no NPU; leave it out, "
                        "or name the chip with SOC=Ascend310P3")
    variables |= {name: ask(name) for name in ask("HANDED_ON", "").split() if ask(name)}
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    return plan.Plan(name, cluster, str(root), f"{variables['OUT_ROOT']}/jobs/{name}", variables, profile,
                     plan.graph(sizes, int(limit) if limit and cluster == "slurm" else None), int(limit) if limit
                     else None,
                     plan.declared_memory(root, sizes, variables["PROFILE"]))


def show_plan(args) -> None:
    """Print the graph and every job text; nothing is written or submitted."""
    made = wanted()
    scheduler = scheduler_of(made)
    print(plan.described(made, sys.stdout.isatty()))
    print("\nmake submit does this:\n" + "\n".join(f"  {step}" for step in scheduler.steps()))
    for name, text in scheduler.job_texts().items():
        print(f"\n--- {name} {'-' * max(3, 100 - len(name))}\n{text}", end="")


def submit(args) -> None:
    """Write the job texts and hand them to the scheduler."""
    made = wanted()
    scheduler = scheduler_of(made)
    if missing := [program for program in scheduler.PROGRAMS if shutil.which(program) is None]:
        raise UserError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing on this machine; make submit "
                        f"CLUSTER={made.cluster} runs where {made.cluster}'s commands are, such as a login node; make plan needs none")
    place = Path(made.folder)
    with aside(place) as new:
        for name in ("tasks", "logs"):
            (new / name).mkdir(parents=True)
        write_text(new / "plan.json", plan.dumped(made) + "\n")
        for name, text in scheduler.job_texts().items():
            write_text(new / name, text)
    try:
        scheduler.submit()
    except NpukitError:
        shutil.rmtree(place)
        raise
    print(f"{len(made.tasks())} jobs submitted to {made.cluster} as {made.id}; texts, logs and records are in {place}\n"
          f"make jobs shows how they are, make collect the table, make cancel ends them")


def chosen(args) -> plan.Plan:
    """Return the submission that --plan or SUBMISSION names, else the newest."""
    if args.plan:
        return plan.load(args.plan)
    place, name = Path(os.environ.get("OUT_ROOT", "out")) / "jobs", os.environ.get("SUBMISSION", "")
    found = sorted(path.parent.name for path in place.glob("*/plan.json"))
    if not found or (name and name not in found):
        others = f"there are: {' '.join(found)}" if found else "make submit makes one"
        raise UserError(f"there is no submission {name}{' ' * bool(name)}in {place}; {others}")
    return plan.load(place / (name or found[-1]) / "plan.json")


def jobs(args) -> None:
    """Print the state of every job of a submission, with the reason where one failed or was not run."""
    made = chosen(args)
    scheduler_of(made).fetch()
    rows = list(summary(made).items())
    width = max(len(name) for name, _ in rows)
    print(f"{made.id} on {made.cluster}\n" + "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows))


def summary(made: plan.Plan) -> dict[str, str]:
    """Return for each task what it wrote, else what the scheduler says, else why it will not run."""
    scheduler = scheduler_of(made)
    live, told = scheduler.states(), {}
    lost: dict[str, str] = {}  # tasks that will not run, or did not succeed, with the task at the root of it
    for task in made.tasks():
        record = records.read(made, task.name)
        state = record["state"] if record else None
        cause = next((lost[name] for name in task.after if name in lost), None) if task.goals else None
        if state in records.FINAL:
            told[task.name] = sentence(record)
        elif records.cancelled(made).exists() and (not cause or cause.endswith("cancelled")):
            told[task.name] = "cancelled"
        elif cause:
            told[task.name] = f"not run: {cause}"
        elif task.name in live:
            told[task.name] = live[task.name] + attempts(record)
        else:
            word = scheduler.last_word(task)
            told[task.name] = f"ended by the scheduler without a word{f' ({word})' if word else ''}{attempts(record)}"
        if state != "done" and (cause or state in records.FINAL or task.name not in live):
            lost[task.name] = cause or f"{task.name} {told[task.name]}"
    return told


def sentence(record: dict) -> str:
    last = record["attempts"][-1]
    spent = f", {last['ended'] - last['started']:.0f} s on {last['host']}" + (f", NPU {last['device']}"
                                                                              if last["device"] else "")
    tries = f", attempt {len(record['attempts'])}" if len(record["attempts"]) > 1 else ""
    if record["state"] in ("done", "cancelled"):
        return f"done{spent}{tries}" if record["state"] == "done" else "cancelled"
    return f"{record['state']} ({record['code']}): {record['reason']}{tries}"


def attempts(record: dict | None) -> str:
    """Return what became of the attempts before, for a task that waits or runs again."""
    before = [attempt for attempt in record["attempts"] if attempt["state"] != "running"] if record else []
    return f", after {len(before)} interrupted: {before[-1]['reason']}" if before else ""


def collect(args) -> None:
    """Print the table of a submission's reports and keep it, with copies of them, in <folder>/results; fail if one is missing or fails."""
    from npukit.judge import report, table

    made = chosen(args)
    scheduler_of(made).fetch()
    paths = {f"{model}-report-bs{size}": plan.report_file(made, model, size) for model, size in made.runs()}
    fresh = {name: path for name, path in paths.items() if path.exists() and ours(made, name)}
    reports = report.read(fresh.values())
    if reports:
        print(table.results(reports, sys.stdout.isatty()))
        with aside(Path(made.folder) / "results") as new:
            new.mkdir()
            write_text(new / "table.txt", table.results(reports) + "\n")
            for name, path in fresh.items():
                shutil.copyfile(path, new / f"{name.replace('-report', '')}.json")
    missing = [f"{name} has no report" for name in paths if name not in fresh]
    failed = [f"{r['model']} at batch size {r['batch_size']} misses a bar" for r in reports if not r["passes"]]
    if problems := missing + failed + report.disagreements(reports):
        raise JobFailed("; ".join(problems) + ("; make jobs says why" if missing else ""))


def ours(made: plan.Plan, task: str) -> bool:
    """Return whether this submission has made, or found made, what the task makes."""
    record = records.read(made, task)
    return record is not None and record["state"] == "done"


def cancel(args) -> None:
    """End every job of a submission, and no other."""
    made = chosen(args)
    records.cancelled(made).touch()
    scheduler_of(made).cancel()
    print(f"the jobs of {made.id} are cancelled; what is done stays in {made.variables['OUT_ROOT']}")


def check(args) -> None:
    """Print the checklist of what the site must have set up; fail if something is missing."""
    from npuops.cluster import checks

    cluster = known(os.environ.get("CLUSTER", ""))
    profile = site.read(Path(os.environ["SITE"]) if os.environ.get("SITE") else None)
    chip = plan.on_chip({name: os.environ.get(name, "") for name in ("SOC", "STANDIN")})
    rows = checks.rows(cluster, profile, chip)
    for name, ok, mend in rows:
        print(f"{'ok   ' if ok else 'wrong'}  {name}" + ("" if ok else f": {mend}"))
    if wrong := [name for name, ok, _ in rows if not ok]:
        raise JobFailed(f"{len(wrong)} of {len(rows)} things are not set up")


# --- Inside a job --------------------------------------------------------------------------------------------------------------------


def run_job(args) -> int:
    """Run a task of a submission and exit with the code of the house."""
    made, scheduler, task = task_of(args)
    device = job.device(os.environ, scheduler.devices,
                        scheduler.numbers_restart) if made.npus(made.group_of(task)) else None
    try:
        return job.run(made, task, scheduler.own_name(), device, args.plan)
    finally:
        scheduler.finish(task)


def end_job(args) -> int:
    """Say how the step of a task ended; asks the scheduler for another attempt where the infrastructure failed."""
    _, scheduler, task = task_of(args)
    return scheduler.ended(task, args.code)


def task_of(args):
    made = plan.load(args.plan)
    return made, scheduler_of(made), next(task for task in made.tasks() if task.name == args.task)
