"""How many CPUs this process was granted: a container's or a job's share, never the host's count."""
import os
from pathlib import Path


def granted_cpus(membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole CPUs granted by the affinity mask and the cgroup quotas (v1 and v2), at least 1.

    A quota counts at its own group and at every group above it; a fraction is rounded down, because a thread
    that the quota stops makes the others wait.
    """
    grants = [float(len(os.sched_getaffinity(0))), *_quotas(membership, mount)]
    return max(1, int(min(grants)))


def _quotas(membership: Path, mount: Path) -> list[float]:
    """The CPU quotas over this process, in CPUs."""
    if not membership.is_file():
        return []
    quotas = []
    for line in membership.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # cgroup v2, at the mount itself or beside v1 in "unified"
            roots = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [mount / controllers, mount / "cpu"]
        else:
            continue
        for root in roots:
            quotas += [_quota(root / above) for above in _and_above(group)]
    return [quota for quota in quotas if quota is not None]


def _and_above(group: str) -> list[str]:
    """The group and all above it; inside a container the group's own path may not exist, its root does."""
    path = Path(group.lstrip("/"))
    return [str(path), *map(str, path.parents)]


def _quota(directory: Path) -> float | None:
    """One group's quota in CPUs; None when it has none."""
    if (directory / "cpu.max").is_file():
        quota, period = (directory / "cpu.max").read_text().split()
    elif (directory / "cpu.cfs_quota_us").is_file():
        quota = (directory / "cpu.cfs_quota_us").read_text().strip()
        period = (directory / "cpu.cfs_period_us").read_text()
    else:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
