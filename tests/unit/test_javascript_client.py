"""The client in JavaScript: the same vectors, and a real hub."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from background import real_hub
from protocol_vectors import VECTORS

from jackfield import portable

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples/clients/jackfield.mjs"
PLAYER = Path(__file__).parent / "play_vectors.mjs"


def node(*arguments: Any) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: scripts/install_peers.sh installs it")
    command = ["node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


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
