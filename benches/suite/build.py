"""Compiles the C programs into benches/build, again only when a source is newer."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SOURCES = HERE / "c"
BUILD = HERE / "build"
SHARED = ("bench.c", "wire.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
# What a program needs beside the C library: a header by which it is found, what to link, and who has it.
LIBRARIES = {"tls": ("openssl/ssl.h", ("-lssl", "-lcrypto"), "libssl-dev")}


def compiler() -> str:
    return os.environ.get("CC", "cc")


def has_header(name: str) -> bool:
    """Whether the compiler finds a header."""
    command = [compiler(), "-E", "-x", "c", "-", "-o", os.devnull]
    source = f"#include <{name}>\n".encode()
    return subprocess.run(command, input=source, capture_output=True, check=False).returncode == 0


def missing(program: str) -> str:
    """What to install for a program that was left out."""
    header, _, package = LIBRARIES[program]
    return f"<{header}> is missing (apt install {package})"


def build() -> None:
    """Raises SystemExit with the compiler's message when a program does not compile.

    A program whose library is missing is left out, which is said on stderr; who needs it fails, and says so.
    """
    BUILD.mkdir(exist_ok=True)
    shared = [SOURCES / name for name in SHARED]
    newest = max(path.stat().st_mtime for path in [*shared, SOURCES / "bench.h"])
    for source in sorted(SOURCES.glob("*.c")):
        program = BUILD / source.stem
        if source in shared or (
            program.exists() and program.stat().st_mtime > max(newest, source.stat().st_mtime)
        ):
            continue
        header, libraries, _ = LIBRARIES.get(source.stem, ("", (), ""))
        command = [compiler(), *FLAGS, "-o", str(program), str(source), *map(str, shared), *libraries]
        try:
            if libraries and not has_header(header):
                print(f"{source.name} is left out: {missing(source.stem)}", file=sys.stderr)
                continue
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SystemExit(
                f"the benchmarks need a C compiler; {compiler()!r} is missing (set CC)"
            ) from None
        if done.returncode:
            raise SystemExit(f"{source.name} does not compile:\n{done.stderr}")
