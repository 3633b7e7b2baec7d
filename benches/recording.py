"""What recording costs: messages per second through a hub, alone, with `--log-dir`, and with `jackfield
record`.

Usage: python benches/recording.py [--seconds 2] [--repeats 3]

A hub of its own process gets lines of 64 bytes from a client that writes as fast as it can. The ways are
measured in turn, so that what else the machine does hits all of them; medians, and each way's share of the
rate without.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JACKFIELD = Path(sys.executable).with_name("jackfield")
LINE = b"x" * 63 + b"\n"
WAYS = ("alone", "log-dir", "record", "record pcapng")


def measure(way: str, seconds: float) -> tuple[float, int]:
    """Messages per second that the hub took, and how many records were lost."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "JACKFIELD_CONTROL": f"{directory}/hub.sock"}
        words = ["--log-dir", f"{directory}/logs"] if way == "log-dir" else []
        command = [JACKFIELD, "serve", "tcp://127.0.0.1:0,framing=line", "--state", "none", *words]
        hub = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        recorder = None
        try:
            assert hub.stdout is not None
            port = next(
                int(match[1]) for line in hub.stdout if (match := re.search(r"listening=\S+:(\d+)", line))
            )
            if way.startswith("record"):
                name = "r.pcapng" if "pcapng" in way else "r.jfrec"
                command = [JACKFIELD, "record", "-o", f"{directory}/{name}", "--json"]
                recorder = subprocess.Popen(
                    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
                next(line for line in hub.stdout if " recording target=" in line)
            with socket.create_connection(("127.0.0.1", port)) as client:
                block = LINE * 1000
                since = time.monotonic()
                while time.monotonic() - since < seconds:
                    client.sendall(block)
                listed = subprocess.run(
                    [JACKFIELD, "clients", "--json"], env=environment, capture_output=True
                )
                taken = time.monotonic() - since
                (view,) = json.loads(listed.stdout)
            lost = 0
            if recorder is not None:
                recorder.send_signal(signal.SIGINT)
                lost = json.loads(recorder.communicate(timeout=60)[0])["lost"]
            elif words:
                hub.terminate()
                hub.wait(60)
                files = sorted(Path(directory, "logs").iterdir())
                command = [JACKFIELD, "recording", "info", "--json", *files]
                told = json.loads(subprocess.run(command, capture_output=True).stdout)
                lost = sum(file["lost"] for file in (told if isinstance(told, list) else [told]))
            return view["messages_in"] / taken, lost
        finally:
            for process in (recorder, hub):
                if process is not None:
                    process.kill()
                    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    lost = dict.fromkeys(WAYS, 0)
    for _ in range(options.repeats):
        for way in WAYS:
            rate, missing = measure(way, options.seconds)
            rates[way].append(rate)
            lost[way] += missing
    alone = rates["alone"]
    for way in WAYS:
        shares = sorted(rate / first for rate, first in zip(rates[way], alone, strict=True))
        rate = f"{statistics.median(rates[way]) / 1000:6.0f} k messages/s"
        share = f"x {statistics.median(shares):.2f} [{shares[0]:.2f} .. {shares[-1]:.2f}]"
        print(f"{way:<14} {rate}  {share}  {lost[way]} records lost")


if __name__ == "__main__":
    main()
