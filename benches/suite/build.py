"""Compiles the C programs into benches/build, again only when a source is newer."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SOURCES = HERE / "c"
BUILD = HERE / "build"
SHARED = ("bench.c", "wire.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


def compiler() -> str:
    return os.environ.get("CC", "cc")


def build() -> None:
    """Raises SystemExit with the compiler's message when a program does not compile."""
    BUILD.mkdir(exist_ok=True)
    shared = [SOURCES / name for name in SHARED]
    newest = max(path.stat().st_mtime for path in [*shared, SOURCES / "bench.h"])
    for source in sorted(SOURCES.glob("*.c")):
        program = BUILD / source.stem
        if source in shared or (
            program.exists() and program.stat().st_mtime > max(newest, source.stat().st_mtime)
        ):
            continue
        command = [compiler(), *FLAGS, "-o", str(program), str(source), *map(str, shared)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SystemExit(
                f"the benchmarks need a C compiler; {compiler()!r} is missing (set CC)"
            ) from None
        if done.returncode:
            raise SystemExit(f"{source.name} does not compile:\n{done.stderr}")
