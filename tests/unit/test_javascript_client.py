"""The client in JavaScript: the same vectors, and a real hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from background import Background, real_hub
from protocol_vectors import VECTORS
from pure_hub import pure_hub

from jackfield import portable

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples/clients/jackfield.mjs"
PLAYER = Path(__file__).parent / "play_vectors.mjs"


def node(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: scripts/install_peers.sh installs it")
    command = ["node", *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name != "JACKFIELD_TOKEN"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=50, env={**inherited, **environment}
    )


def test_it_passes_the_vectors_of_clients() -> None:
    done = node(PLAYER, CLIENT, VECTORS)
    assert done.stdout, done
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert found["played"] > 80


def test_it_has_300_lines_at_most_and_no_dependencies() -> None:
    text = CLIENT.read_text()
    assert text.count("\n") <= 300
    assert not [line for line in text.splitlines() if len(line) > 140]
    assert 'from "' not in text
    assert "require(" not in text


def test_it_asks_and_answers_over_a_hub(directory: Path) -> None:
    with real_hub(directory) as where, portable.connect(where.partition("?")[0], name="dev7") as device:
        plain = where.partition("?")[0]
        device.answer(lambda peer, data: data.upper())
        assert node(CLIENT, plain, "dev7", "status").stdout == "STATUS\n"
        assert "dev7" in node(CLIENT, plain).stdout
        program = f"""
            import {{ connect }} from {json.dumps(str(CLIENT))};
            const client = await connect({json.dumps(plain)}, {{ name: "js" }});
            const shout = (data) => new TextEncoder().encode(new TextDecoder().decode(data) + "!");
            client.answer = shout;
            console.log(new TextDecoder().decode(await client.request("js", new TextEncoder().encode("me"))));
            try {{ await client.request("nobody", new Uint8Array(1)); }}
            catch (error) {{ console.log(error.message); }}
            client.close();
        """
        done = node("--input-type=module", "-e", program)
        assert done.stdout.splitlines()[0] == "me!", done
        assert "nobody" in done.stdout.splitlines()[1], done


def test_what_fails_from_a_shell_is_one_line(directory: Path) -> None:
    def failed(*arguments: str) -> str:
        done = node(CLIENT, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("jackfield.mjs: ")
        return done.stderr

    assert "usage: " in failed()
    assert "usage: " in failed("--help")
    assert "Invalid URL" in failed("://")
    assert "ECONNREFUSED" in failed("tcp://127.0.0.1:9")
    with real_hub(directory) as where:
        assert "nobody" in failed(where.partition("?")[0], "nobody", "hello")


def test_it_shows_no_token_where_everyone_could_read_it() -> None:
    def tried(address: str, **options: object) -> str:
        program = f"""
            import {{ connect }} from {json.dumps(str(CLIENT))};
            const more = {json.dumps(options)}, giving = {{ token: "jf_x" }};
            await connect({json.dumps(address)}, giving, more).catch((error) => console.log(error.message));
        """
        return node("--input-type=module", "-e", program).stdout

    warning = "has no TLS, and everyone on the way could read the token; write tls://"
    for address in (
        "tcp://192.0.2.1:9",
        "ws://hub.invalid/native",
        "tcp://127.0.0.1.invalid:9",
        "tcp://[2001:db8::1]:9",
    ):
        assert tried(address).startswith(f"{address} {warning}")
    for address in (
        "tcp://127.0.0.1:9",
        "tcp://[::1]:9",
        "ws://localhost:9/native",
        "unix:///nowhere",
        "tls://hub.invalid:9",
    ):
        assert "no TLS" not in tried(address)
    assert "no TLS" not in tried("tcp://hub.invalid:9", insecureToken=True)
    shown = node(CLIENT, "tcp://192.0.2.1:9?invitation=jf_once").stderr
    assert shown.startswith(f"jackfield.mjs: tcp://192.0.2.1:9 {warning}")
    assert "jf_once" not in shown


def test_it_shows_and_keeps_what_came_for_an_invitation() -> None:
    with Background(pure_hub) as background:
        hub, where = background.hub, str(background.hub.address).partition("?")[0]
        hub.more = {"token": "jf_lasting"}
        program = f"""
            import {{ connect }} from {json.dumps(str(CLIENT))};
            const client = await connect({json.dumps(where + "?invitation=jf_once")});
            console.log(client.token);
            client.close();
        """
        assert node("--input-type=module", "-e", program).stdout == "jf_lasting\n"
        shown = node(CLIENT, f"{where}?invitation=jf_once", "dev7", "x").stderr
        assert "JACKFIELD_TOKEN=jf_lasting" in shown
        node(CLIENT, where, "dev7", "x", JACKFIELD_TOKEN="jf_lasting")
        assert [hello["token"] for hello in hub.hellos] == ["jf_once", "jf_once", "jf_lasting"]
