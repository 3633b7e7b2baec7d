"""The servers of `examples/servers` side by side: requests per second and memory with 1 to 1,000 clients.

    .venv/bin/python benches/concurrency.py [--seconds 1] [--repeats 3] [--write docs/concurrency.md]

The load is the C program of the benchmark suite: every client sends 64 bytes, waits for the echo, and sends
again. Both cores are everybody's. Memory is the proportional set size of the server's whole tree of
processes, with all clients connected and nothing sent, less what it is with one client. `--write` puts the
table into a document between its two marks.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from suite.build import BUILD, build  # noqa: E402
from suite.machine import describe, prepare  # noqa: E402

CLIENTS = (1, 100, 1000)
SERVERS = ROOT / "examples" / "servers"


@dataclass(frozen=True)
class Server:
    label: str
    words: tuple[str, ...]
    pool: bool = False  # serves no more clients than it has workers: as many as there are clients
    most: int = 1000


ALL = (
    Server("process per client", ("process_per_client",)),
    Server("processes, forked before", ("preforked",), pool=True, most=100),
    Server("thread per client", ("thread_per_client",)),
    Server("pool of threads", ("thread_pool",), pool=True),
    Server("select", ("select_loop",)),
    Server("epoll", ("epoll_loop",)),
    Server("jackfield, tasks", ("jackfield_server", "tasks")),
    Server("jackfield, group", ("jackfield_server", "group")),
    Server("jackfield.sync, thread per client", ("jackfield_server", "threads")),
    Server("jackfield, Processes(2)", ("jackfield_server", "processes")),
)


@contextmanager
def running(server: Server, clients: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    name, *more = server.words
    workers = [str(clients)] if server.pool else []
    command = [sys.executable, str(SERVERS / f"{name}.py"), "0", *more, *workers]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert program.stdout is not None
        port = program.stdout.readline().split()[-1]
        # Worker processes take a moment: who echoes once is ready.
        with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as first:
            first.sendall(b"ready?")
            first.recv(100)
        yield program, f"tcp://127.0.0.1:{port}"
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def load(address: str, clients: int, seconds: float) -> float:
    """Requests per second."""
    command = [str(BUILD / "load"), address, "u32", str(clients), "64", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds, check=True)
    result = json.loads(done.stdout)
    return float(result["count"]) / float(result["seconds"])


def memory(program: subprocess.Popen[str], address: str, clients: int) -> float:
    """Bytes, with so many silent clients."""
    holding = subprocess.Popen(
        [str(BUILD / "hold"), address, "u32", str(clients), "paced"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holding.stdout is not None
        holding.stdout.readline()
        time.sleep(0.5)
        return float(sum(share(pid) for pid in tree(program.pid)))
    finally:
        holding.kill()
        holding.wait()


def tree(pid: int) -> list[int]:
    """A process and all that it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def share(pid: int) -> int:
    """Proportional set size in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def measure(server: Server, clients: int, seconds: float) -> tuple[float, float] | None:
    """Requests per second, and bytes of memory."""
    if clients > server.most:
        return None
    try:
        with running(server, clients) as (program, address):
            rate = load(address, clients, seconds)
        with running(server, clients) as (program, address):
            return rate, memory(program, address, clients)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        print(f"{server.label}, {clients} clients: {error}", file=sys.stderr)
        return None


def table(repeats: int, seconds: float) -> str:
    samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for clients in CLIENTS:
            for server in ALL:
                figures = measure(server, clients, seconds)
                if figures:
                    samples.setdefault((server.label, clients), []).append(figures)
                    rate, size = figures
                    print(f"{server.label:34} {clients:5} {rate:10,.0f}/s {size / 1e6:8.1f} MB", flush=True)
    lines = [
        "| server | 1 client, k/s | 100, k/s | 1,000, k/s | memory with 1, MB | with 1,000, MB |",
        "|---|---|---|---|---|---|",
    ]
    for server in ALL:
        cells = [server.label]
        for clients in CLIENTS:
            rates = [rate for rate, _ in samples.get((server.label, clients), [])]
            cells.append(f"{median(rates) / 1e3:.1f}" if rates else "-")
        for clients in (1, 1000):
            sizes = [size for _, size in samples.get((server.label, clients), [])]
            cells.append(f"{median(sizes) / 1e6:.0f}" if sizes else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    words = parser.parse_args()
    build()
    prepare()
    found = table(words.repeats, words.seconds)
    on = describe()
    about = (
        f"Measured on {on['date'][:10]}: {on['processor']}, {on['cores']} cores, {on['kernel']}, "
        f"{on['python']}, load average {on['load_average']} at its start; "
        f"runs of {words.seconds:g} s for each figure: {words.repeats}, medians."
    )
    text = f"{about}\n\n{found}\n"
    print(text)
    if words.write:
        document = words.write.read_text()
        before, _, rest = document.partition("<!-- figures -->\n")
        _, _, after = rest.partition("<!-- end of figures -->\n")
        words.write.write_text(f"{before}<!-- figures -->\n\n{text}\n<!-- end of figures -->\n{after}")


if __name__ == "__main__":
    main()
