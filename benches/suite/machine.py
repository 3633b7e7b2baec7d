"""What the figures were measured on: processor, kernel, settings, versions; and whether it was quiet."""

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.build import BUILD, HERE, compiler

PACKAGES = ("jackfield", "uvloop", "pyzmq", "picows", "aiofastnet")
PRETOUCHED = 1 << 30  # bytes


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _first_line(*command: str) -> str:
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return output.splitlines()[0] if output else "unknown"


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def cores() -> tuple[int, int]:
    """The server's core and the load's; the same one when there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1] if len(usable) > 1 else usable[0]


def describe() -> dict[str, Any]:
    versions = {package: _version(package) for package in PACKAGES}
    if versions["pyzmq"] != "not installed":
        import zmq

        versions["libzmq"] = zmq.zmq_version()
    versions["openssl"] = _first_line(str(BUILD / "tls"), "version").removeprefix("OpenSSL ")
    revision = _first_line("git", "-C", str(HERE), "describe", "--always", "--dirty")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _first_line(compiler(), "--version"),
        "congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "load_average": round(os.getloadavg()[0], 2),
        "revision": revision,
        "versions": versions,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "arguments": sys.argv[1:],
    }


def prepare() -> None:
    """Raises the soft descriptor limit, and touches memory that a fresh guest has not seen yet."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    bytearray(min(PRETOUCHED, available // 4))


@dataclass(frozen=True)
class Usage:
    """User-mode CPU seconds of the whole machine and of the suite, to see what others used meanwhile.

    Only user mode is compared: kernel and interrupt time of loopback traffic cannot be told apart by owner.
    """

    machine: float
    suite: float
    at: float

    @classmethod
    def now(cls) -> "Usage":
        fields = [int(field) for field in _read("/proc/stat").splitlines()[0].split()[1:]]
        tick = os.sysconf("SC_CLK_TCK")
        stolen = fields[7] if len(fields) > 7 else 0
        own = sum(
            resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return cls((fields[0] + fields[1] + stolen) / tick, own, time.monotonic())

    def others_since(self, before: "Usage") -> float:
        """Cores that other programs kept busy on average since `before`."""
        used = (self.machine - before.machine) - (self.suite - before.suite)
        return max(0.0, used / max(0.001, self.at - before.at))
