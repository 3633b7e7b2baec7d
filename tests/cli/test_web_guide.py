"""The guide to the web console: its commands run as they stand there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path

from programs import JACKFIELD, StartHub, need

GUIDE = (Path(__file__).parents[2] / "docs" / "web.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_curl_asks_the_api_with_a_token(start_hub: StartHub) -> None:
    need("curl", "bash")
    hub = start_hub("tcp://127.0.0.1:0", "--web", "127.0.0.1:0")
    where = hub.seen(rb" web url=(\S+)")[1].decode()
    (commands,) = [each for each in COMMANDS if "curl" in each]
    path = f"{JACKFIELD.parent}:{os.environ['PATH']}"
    with socket.create_connection(("127.0.0.1", hub.port()), timeout=15) as plain:
        hub.joined(1)
        done = subprocess.run(
            ["bash", "-euc", commands.replace("http://127.0.0.1:8080", where)],
            env={**hub.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found, end = json.JSONDecoder().raw_decode(done.stdout)
        assert [each["name"] for each in found["clients"]] == ["tcp-1"]
        assert json.loads(done.stdout[end:])["sent"] == 1
        assert plain.recv(100) == b"hello\n"
        bare = subprocess.run(["curl", "-sS", f"{where}/api/v1/status"], capture_output=True, timeout=30)
        assert "Authorization: Bearer" in json.loads(bare.stdout)["error"]["hint"]
