"""A real Slurm on this machine: munged, slurmctld and slurmd of our own, below one folder, with two made-up NPUs.

One node of eight processors that this machine may not have (Slurm counts them, nobody binds to them), a second one that is always
down, and davinci0 and davinci1, device nodes that lead nowhere, as the generic resource npu.
"""
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

PORTS = 17817, 17818
CONFIGURATION = """
ClusterName=npukit
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={place}/completed.txt
ReturnToService=2
KillWait=5
MaxJobCount=1000
GresTypes=npu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=npu:2 State=UNKNOWN
NodeName=elsewhere NodeAddr=127.0.0.1 Port=17819 CPUs=8 RealMemory=16000 Gres=npu:2 State=DOWN
PartitionName=chips Nodes={host},elsewhere Default=YES MaxTime=INFINITE State=UP
PartitionName=alone Nodes={host} MaxTime=INFINITE State=UP
"""


class Slurm:
    """The daemons, their configuration and state below one folder; everything that was started is ended by its own pid."""

    def __init__(self, place: Path):
        self.place, self.host, self.daemons = place, socket.gethostname().partition(".")[0], []
        self.environment = {"SLURM_CONF": str(place / "etc" / "slurm.conf")}

    def start(self) -> None:
        for name in ("etc", "state", "spool"):
            (self.place / name).mkdir(parents=True)
        for minor in (0, 1):
            os.mknod(self.place / f"davinci{minor}", 0o666 | 0o020000, os.makedev(236, minor))
        conf = CONFIGURATION.format(place=self.place, host=self.host, ports=PORTS)
        (self.place / "etc" / "slurm.conf").write_text(conf)
        (self.place / "etc" / "gres.conf").write_text(f"AutoDetect=off\nName=npu File={self.place}/davinci[0-1]\n")
        key = self.place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self.daemon("munged", "--foreground", "--force",
                    *(f"--{flag}={self.place}/munge.{end}" for flag, end in files.items()))
        self.wait(lambda: (self.place / "munge.socket").exists())
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D", "-N", self.host)
        self.wait(lambda: "idle" in self.ask("sinfo", "--noheader", "--nodes", self.host, "--format=%T"))

    def daemon(self, *command: str) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin"
        program = shutil.which(command[0], path=path)
        assert program, f"{command[0]} is not installed; apt-get install slurm-wlm munge"
        with open(self.place / f"{command[0]}.out", "wb") as out:
            self.daemons.append(subprocess.Popen([program, *command[1:]],
                                                 env={**os.environ, **self.environment, "PATH": path},
                                                 stdout=out, stderr=out, stdin=subprocess.DEVNULL))

    def stop(self) -> None:
        self.ask("scancel", "--user=root", check=False)
        time.sleep(1)
        for process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout

    def wait(self, condition, seconds: float = 60, every: float = 0.3) -> None:
        """Wait for something, and let jobs that were queued again begin at once instead of after Slurm's two minutes."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain\n{self.ask('squeue', '--array', check=False)}"
            for line in self.ask("squeue", "--array", "--noheader", "--format=%i|%r", check=False).splitlines():
                job, _, reason = line.partition("|")
                if reason == "BeginTime":
                    self.ask("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
            time.sleep(every)

    def completed(self, name: str) -> list[dict[str, str]]:
        """Return what the accounting says of the jobs of this name's beginning: JobState, StartTime, EndTime, Tres ..."""
        path = self.place / "completed.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        jobs = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
        return [job for job in jobs if job["Name"].startswith(name)]
