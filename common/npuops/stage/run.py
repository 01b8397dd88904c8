"""One stage: its command runs in a fresh folder, which takes the stage's name only if the command succeeds.

    python -m npuops stage --into out/cpu/tiny/elmo/bs1/atc --versions 1c1c8f -- bash atc.sh ...

The folder then also holds
    log.txt      what the command printed
    record.json  the command, when it began, how many seconds it took, how much memory its largest process held, and the run that
                 it belongs to: model, soc, standin, profile, batch_size (null for stages that all batch sizes share)
    command      command line and tool versions, as common/model.mk compares them with those of the day
    reads.mk     the files that the command read, as prerequisites of the stage; common/model.mk includes it
A killed stage leaves a hidden folder that the next run removes; a failed one leaves <folder>.failed to look into.
"""
import datetime
import errno
import functools
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from npukit.errors import JobFailed, Unavailable, UserError
from npukit.files import sha256
from npuops import processes
from npuops.locks import hold
from npuops.stage import reads
from npuops.stage.device import require_idle, require_node

# The device or its driver is gone or taken, whatever the tool at hand calls it (ascend_toolchain: dcmi, ACL runtime).
INFRASTRUCTURE = re.compile(r"-8005\b|\b107001\b|\b507033\b|\b507899\b|dcmi module initialize failed|acl open device \d+ failed")
FULL = re.compile(r"No space left on device|Disk quota exceeded")
OWN = {"log.txt", "record.json", "command", "reads.mk",
       "outputs_summary.json"}  # files that tell of one run and its times
TAIL = 15  # lines of a failed command's output that are shown where the rest is not


def run_shared(into: Path, command: list[str], versions: str = "", places: dict[str, str] | None = None,
               **options) -> None:
    """Run a stage that jobs on other hosts may be running too: one does, the others wait and find it made.

    options  as run takes them
    """
    before = made(into)
    tell = functools.cache(lambda owner: say(f"waiting for {owner}, which makes {into}"))  # once for each
    with hold(into.parent / ".locks" / into.name, tell):
        if made(into) != before and (into / "command").read_text() == key(command, versions, places):
            say(f"{'':7}    {into}, made by another job meanwhile")
            return
        run(into, command, versions, places, **options)


def run(into: Path, command: list[str], versions: str = "", places: dict[str, str] | None = None,
        target: str = "record.json",
        chip: bool = False, idle: int | None = None, show: bool = False, run: dict | None = None) -> None:
    """Run the command in a folder of its own and move the folder to `into` if it exits with 0.

    target    the file in the folder that make looks at
    versions  of the tools: with others the stage is stale
    places    folders and what they are called in `command`, so that a container and its host, where they differ, agree
    chip      the command needs a chip: a device node that this user may open
    idle      a device that nothing else may be running on
    show      what the command prints, as it prints it; else a line when it has ended, and the end of its log if it failed
    run       identity()'s, for record.json
    raises    SystemExit with the command's own exit code where it is one of the house's (2, 75); Unavailable where the
              device is gone or taken; UserError where the disk is full; JobFailed otherwise
    """
    if chip:
        require_node()
    if idle is not None:
        require_idle(idle)
    try:
        in_a_folder(into, command, key(command, versions, places), places or {}, target, show, run)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"the disk of {into} is full ({error.strerror}); free some space and run make again") from None


def identity(told: str) -> dict | None:
    """Return the run that --run names, 'model=elmo soc=cpu standin=1 profile=tiny batch_size=8', as record.json holds it."""
    if not told:
        return None
    values = dict(each.split("=", 1) for each in told.split())
    return {**values, "standin": bool(values["standin"]), "batch_size": int(values["batch_size"])
            if values["batch_size"] else None}


def in_a_folder(into: Path, command: list[str], key: str, places: dict[str, str], target: str, show: bool,
                run: dict | None) -> None:
    """Run the command in a hidden folder beside `into`; the folder takes that name, or <into>.failed."""
    into.parent.mkdir(parents=True, exist_ok=True)
    for left in into.parent.glob(f".{into.name}.*.new*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    new = into.with_name(f".{into.name}.{os.getpid()}.new")
    new.mkdir()
    before = made(into)
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    notes = new.with_name(f"{new.name}.notes").absolute()  # beside the folder: a command may empty its own
    status = watch(command, new, show, reads.environment(notes))
    seconds = time.monotonic() - began
    if status != 0:
        notes.unlink(missing_ok=True)
        blame(status, publish(new, into.with_name(f"{into.name}.failed")), show)
    record = {"command": shlex.join(command), "started": started.isoformat(timespec="seconds"), "seconds": seconds,
              "memory_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
                                  2)}  # Linux counts in KiB
    if run:
        record["run"] = run
    (new / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    (new / "command").write_text(key)
    reads.write(notes, command, into.absolute() / target, places, new)
    if (new / target).exists():  # as old as its beginning: what is edited while a stage runs makes it stale
        os.utime(new / target, (started.timestamp(),) * 2)
    if made(into) == before:
        publish(new, into)
    else:  # whoever held the lock was taken for dead and was not
        verify(new, into)
    shutil.rmtree(into.with_name(f"{into.name}.failed"), ignore_errors=True)
    if not show:
        say(f"{seconds:7.1f} s  {into}")


def say(line: str) -> None:
    """Print a line in one write: print() makes two where Python is unbuffered, and stages of several containers print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def key(command: list[str], versions: str, places: dict[str, str] | None = None) -> str:
    """Return command and versions as common/model.mk compares them: without places, and without the quotes that make still sees."""
    line = " ".join(command)
    for place, name in (places or {}).items():
        line = line.replace(place, name)
    line = line.replace("'", "").replace('"', "")
    return f"{line} | {versions}"


def made(into: Path) -> tuple[int, int] | None:
    """Return what tells this making of a stage from every other, None where it is not made."""
    try:
        stat = (into / "record.json").stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def watch(command: list[str], folder: Path, show: bool, environment: dict[str, str] | None = None) -> int:
    """Run the command in the folder, with this environment or our own, and keep what it prints in log.txt.

    Return its exit status, -signal if killed. One that was told to end has not done its work, though it may end with 0. Where
    stderr is a terminal the command has it, so that its progress bar can be seen.
    """
    stderr = None if sys.stderr.isatty() else subprocess.STDOUT
    with open(folder / "log.txt", "wb") as log:

        def keep(line: bytes) -> None:
            log.write(line)
            if show:
                sys.stdout.buffer.write(line)
                sys.stdout.flush()

        status, guard = processes.run(command, keep, cwd=folder, stderr=stderr, env=environment)
    return status or (-guard.told if guard.told else 0)


def publish(new: Path, into: Path) -> Path:
    """Move a finished folder into place; what stood there is removed first."""
    if into.exists():
        shutil.rmtree(into)
    return new.rename(into)


def verify(new: Path, into: Path) -> None:
    """Keep what another job has put in place while this one ran, and make sure that both made the same; times may differ."""
    differing = [name for name in sorted(contents(new) | contents(into))
                 if not ((new / name).is_file() and (into / name).is_file()
                         and sha256(new / name) == sha256(into / name))]
    shutil.rmtree(new)
    if differing:
        raise JobFailed(f"{into} was made twice at the same time, and {', '.join(differing[:3])} differ; the first is kept. "
                        "Remove it and run make again")


def contents(folder: Path) -> set[str]:
    """Return the files of a stage that two runs should make alike."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name not in OWN}


def blame(status: int, failed: Path, show: bool) -> None:
    """Raise what a failed command means; its log lies in the folder `failed`."""
    log = (failed / "log.txt").read_text(encoding="utf-8", errors="replace")
    if not show:
        sys.stderr.write("".join(log.splitlines(keepends=True)[-TAIL:]))
    if found := INFRASTRUCTURE.search(log):
        raise Unavailable(f"the device or its driver failed ({found[0]}); try again elsewhere; its output is in {failed}/log.txt")
    if FULL.search(log):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status in (2, 75):
        raise SystemExit(status)  # the script has said what is wrong
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
    raise JobFailed(f"{failed.name.removesuffix('.failed')} {how}; all of its output is in {failed}/log.txt")
