"""Which jobs there are, what each waits for, and how many NPUs are held at a time.

    <model>-prepare            CPU   preprocess pth2onnx
    <model>-compile   each BS  CPU   modify_onnx atc            after prepare
    <model>-infer     each BS  NPU   infer perf                 after compile of the same batch size; CPU on the stand-in
    <model>-report    each BS  CPU   postprocess                after infer of the same batch size
    table                      CPU   the table, judged          after every report has ended, well or not

A group is the jobs of one line; Slurm takes it as one array. MAX_NPUS bounds the infer jobs that may run at once. Argo
and Volcano count them; in Slurm's arrays the models share it out, and where there are more models than NPUs, one model's
infer jobs begin when another's have ended.
"""
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from npukit.errors import UserError
from npukit.files import read_json
from npuops import places
from npuops.cluster import site as sites
from npuops.cluster import typed

SCHEMA = 3  # of a plan.json
GOALS = {"prepare": ("preprocess", "pth2onnx"), "compile": ("atc",), "infer": ("infer", "perf"),
         "report": ("postprocess",)}
BEFORE = {"compile": "prepare", "infer": "compile", "report": "infer"}


@dataclass(frozen=True)
class Task:
    """One job. after: the tasks that must have succeeded before."""

    name: str
    model: str
    batch_size: int | None
    goals: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """The tasks of one model and kind.

    after    the group whose task, or task of the same batch size, each task waits for; None for the first
    turn     the infer group that must have ended before, well or not, so that MAX_NPUS holds
    at_once  how many of the tasks may run at once
    """

    name: str
    kind: str
    tasks: tuple[Task, ...]
    after: str | None = None
    turn: str | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class Plan:
    """One submission.

    folder      where it keeps its texts and records
    variables   the front door's, without MODEL, BS, DEVICE
    memory_gib  what each model declares that its jobs of a kind need: {model: {kind: GiB}}
    """

    id: str
    cluster: str
    root: str
    folder: str
    variables: dict[str, str]
    site: sites.Site
    groups: tuple[Group, ...]
    max_npus: int | None = None
    memory_gib: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self):
        typed.printable(asdict(self), "plan")  # whatever text a scheduler is given is made of it

    def npus(self, group: Group) -> int:
        """Return how many NPUs each job of a group asks for: whole cards where Slurm gives no less."""
        if group.kind != "infer" or not on_chip(self.variables):
            return 0
        return 2 if self.cluster == "slurm" and self.site.slurm.even else 1

    def memory(self, group: Group) -> int:
        """Return the GiB that each job of a group asks for: the site's, or more where the model needs more."""
        return max(self.site.memory_gib[group.kind], self.memory_gib.get(group.tasks[0].model, {}).get(group.kind, 0))

    def tasks(self) -> list[Task]:
        return [task for group in self.groups for task in group.tasks]

    def runs(self) -> list[tuple[str, int]]:
        """Return model and batch size of every report."""
        return [(task.model, task.batch_size) for group in self.groups if group.kind == "report"
                for task in group.tasks]

    def group(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)

    def group_of(self, task: Task) -> Group:
        return next(group for group in self.groups if task in group.tasks)


def on_chip(variables: dict[str, str]) -> bool:
    """Return whether inference is on a chip: the stand-in, for a chip too, runs on CPUs."""
    return variables["SOC"] != "cpu" and not variables["STANDIN"]


def graph(batch_sizes: dict[str, list[int]], max_npus: int | None) -> tuple[Group, ...]:
    """Return the groups, every one after those it waits for."""
    groups, reports = [], []
    for model, (at_once, turn) in turns({model: len(sizes) for model, sizes in batch_sizes.items()}, max_npus).items():
        sizes = batch_sizes[model]
        groups.append(Group(f"{model}-prepare", "prepare",
                            (Task(f"{model}-prepare", model, None, GOALS["prepare"], ()),)))
        for kind, before in BEFORE.items():
            tasks = tuple(Task(f"{model}-{kind}-bs{n}", model, n, GOALS[kind],
                               (f"{model}-prepare" if before == "prepare" else f"{model}-{before}-bs{n}",))
                          for n in sizes)
            infer = kind == "infer"
            groups.append(Group(f"{model}-{kind}", kind, tasks, f"{model}-{before}", f"{turn}-infer" if infer and turn
                                else None,
                                at_once if infer else None))
            reports += [task.name for task in tasks if kind == "report"]
    return *groups, Group("table", "table", (Task("table", "", None, (), tuple(reports)),))


def turns(sizes: dict[str, int], limit: int | None) -> dict[str, tuple[int, str | None]]:
    """Return for each model how many of its infer jobs may run at once, and the model whose infer jobs come before.

    sizes  the number of infer jobs of each model
    limit  never more infer jobs at once than this; None for no limit
    """
    if limit is None:
        return {model: (size, None) for model, size in sizes.items()}
    if limit >= len(sizes):
        share = dict.fromkeys(sizes, 1)
        while sum(share.values()) < limit and (room := [model for model in sizes if share[model] < sizes[model]]):
            share[min(room, key=lambda model: share[model])] += 1
        return {model: (share[model], None) for model in sizes}
    lanes: list[list[str]] = [[] for _ in range(limit)]
    for model in sizes:
        min(lanes, key=lambda lane: sum(sizes[other] for other in lane)).append(model)
    before = {model: previous for lane in lanes for previous, model in zip([None, *lane], lane)}
    return {model: (1, before[model]) for model in sizes}


def facts(root: Path, model: str) -> dict[str, str]:
    """Return what a model's Makefile declares, with whichever of make's assignments."""
    text = (root / "models" / model / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+)[ \t]*(?::{0,3}|\?)=[ \t]*(.*?)[ \t]*$", text, re.M))


def declared_memory(root: Path, models: Iterable[str], profile: str) -> dict[str, dict[str, int]]:
    """Return the MEMORY_GIB_<kind> of the models, {model: {kind: GiB}}; they are of the full-size network, which tiny has not."""
    return {model: {name.removeprefix("MEMORY_GIB_"): int(value) for name, value in facts(root, model).items()
                    if name.startswith("MEMORY_GIB_") and profile != "tiny"} for model in models}


def requested(root: Path, models: Iterable[str], sizes: str, profile: str) -> dict[str, list[int]]:
    """Return each model's batch sizes; UserError where a model has no such batch size or profile."""
    batch_sizes = {}
    for model in models:
        has, profiles = (facts(root, model).get(name, "").split() for name in ("BATCHES", "PROFILES"))
        asked = has if sizes.split() == ["all"] else list(dict.fromkeys(sizes.split()))
        if wrong := [n for n in asked or ["''"] if n not in has]:
            raise UserError(f"{model} has no batch size {wrong[0]}; it has: {' '.join(has)}, or BS=all")
        if profile not in profiles:
            raise UserError(f"{model} has no profile '{profile}'; it has: {' '.join(profiles)}")
        batch_sizes[model] = [int(n) for n in asked]
    return batch_sizes


# --- Kept and read back --------------------------------------------------------------------------------------------------------------


def dumped(plan: Plan, indent: int | None = 1) -> str:
    return json.dumps({"schema": SCHEMA, **asdict(plan)}, indent=indent, ensure_ascii=False)


def load(path: Path) -> Plan:
    """Return the plan that was written to a plan.json."""
    values = read_json(path)
    if values.pop("schema", None) != SCHEMA:
        raise UserError(f"{path} was written by another version of npukit; submit again")
    return typed.build(Plan, values, str(path))


# --- What it will cost ---------------------------------------------------------------------------------------------------------------


def report_file(plan: Plan, model: str, batch_size: int) -> Path:
    """Return where the report of one run of the plan is going to be."""
    given = plan.variables
    run = places.run_folder(Path(given["OUT_ROOT"]), given["SOC"], bool(given.get("STANDIN")), given["PROFILE"], model,
                            batch_size)
    return places.report_file(run)


def npu_minutes(plan: Plan) -> dict[str, float | None]:
    """Return the minutes that each infer task will hold its NPU, as the last report of the same run says; None without a report."""
    return {task.name: seconds / 60 if (seconds := last_seconds(plan, task)) is not None else None
            for group in plan.groups if plan.npus(group) for task in group.tasks}


def last_seconds(plan: Plan, task: Task) -> float | None:
    try:
        spent = read_json(report_file(plan, task.model, task.batch_size))["provenance"]["seconds"]
        return spent["infer"] + spent["perf"]
    except (UserError, KeyError):
        return None


def described(plan: Plan, colour: bool = False) -> str:
    """Return the graph as a person reads it: a line a group, then what it will cost."""
    from npukit.columns import columns  # rich: `cluster check` runs on a host that has nothing but Python

    site = plan.site
    rows = [("jobs", "number", "at once", "each holds", "minutes at most", "waits for")]
    for group in plan.groups:
        cpus, chips = site.cpus[group.kind], plan.npus(group)
        holds = f"{cpus} CPU{'s' * (cpus > 1)}, {plan.memory(group)} GiB" + (f", {chips} NPU{'s' * (chips > 1)}"
                                                                             if chips else "")
        waits = [f"{group.after}, same batch size" if group.kind in ("infer", "report")
                 else group.after] if group.after else []
        waits += [f"all of {group.turn}"] if group.turn else []
        waits += ["every report"] if group.kind == "table" else []
        at_once = min(group.at_once or len(group.tasks), plan.max_npus or len(group.tasks) if chips
                      else len(group.tasks))
        rows.append((group.name, str(len(group.tasks)), str(at_once), holds, str(site.minutes[group.kind]),
                     "; ".join(waits) or "-"))
    settings = " ".join(f"{name}={value}"
                        for name, value in plan.variables.items() if name not in ("DATA", "OUT_ROOT", "VENV") and value)
    npus = f"at most {plan.max_npus} NPUs at a time" if plan.max_npus else \
        "as many NPUs at a time as the cluster gives" if on_chip(plan.variables) else "no NPU"
    return f"{len(plan.tasks())} jobs on {plan.cluster}: {settings}; {npus}\n\n{columns(rows, colour)}\n\n{cost(plan)}"


def cost(plan: Plan) -> str:
    """Return the line that says for how long NPUs will be held, as far as it is known."""
    if not on_chip(plan.variables):
        return "0 NPUs: the stand-in infers on CPUs; SOC=Ascend310P3, without STANDIN=1, infers on chips"
    minutes = npu_minutes(plan)
    known = [value for value in minutes.values() if value is not None]
    text = f"NPU minutes: {sum(known):.1f} for {len(known)} of {len(minutes)} infer jobs, as the last report of the same run says"
    if len(known) < len(minutes):
        text += f"; the other {len(minutes) - len(known)} have no report yet, at most {plan.site.minutes['infer']} each"
    return text
