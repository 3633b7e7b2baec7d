"""`jackfield config` and `serve --config`: what is wrong and where, what counts; no option is left out."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess

from jackfield.cli.configuration import settings
from jackfield.cli.serve_command import serve

pytestmark = pytest.mark.timeout(120)


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JACKFIELD")}
    return subprocess.run(
        [JACKFIELD, *arguments], capture_output=True, text=True, timeout=60, env={**clean, **environment}
    )


def write(directory: Path, text: str) -> Path:
    path = directory / "jackfield.toml"
    path.write_text(text)
    return path


WRONG = """\
listen = [
  "tcp://127.0.0.1:0",
  "tpc://127.0.0.1:0",
  "tcp://127.0.0.1:0,framing=u33",
]
queu = "1M"
queue = "1Q"
max-clients = "many"
messages = 3
eol = "crlx"
[server]
framing = "u32"
"""


def test_all_errors_are_told_at_once_with_their_places(directory: Path) -> None:
    path = write(directory, WRONG)
    done = run("config", "check", path)
    assert done.returncode == 1
    assert done.stdout == ""
    told = [line.removeprefix(f"jackfield: {path}:") for line in done.stderr.splitlines()]
    wanted = [
        "3:3: listen: invalid address 'tpc://127.0.0.1:0'",
        "4:3: listen: invalid framing 'u33'",
        "6:1: unknown key 'queu'; did you mean 'queue'?",
        "7:9: queue: '1Q' is not a size",
        "8:15: max-clients: 'many' is not a whole number from 1 on",
        "9:12: messages: 3 is not true or false",
        "10:7: eol: unknown line ending 'crlx'",
        "11:2: unknown table 'server'; keys stand alone, under no [heading]",
    ]
    assert len(told) == len(wanted)
    for line, beginning in zip(told, wanted, strict=True):
        assert line.startswith(beginning)
    as_json = json.loads(run("config", "check", path, "--json").stdout)
    assert [(each["line"], each["column"]) for each in as_json["problems"]] == [
        tuple(map(int, line.split(":")[:2])) for line in wanted
    ]
    # The hub says the first one, and how to see the others.
    started = run("serve", "--config", path)
    assert started.returncode == 1
    assert f"{path}:3:3: " in started.stderr
    assert "7 more: see 'jackfield config check" in started.stderr


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('listen = ["a"\nqueue =', ":2:"),
        ('queue = "1M"\nqueue = "2M"\n', ":2:"),
        ('a = "\x01"', ":1:"),
        ("x", ":1:2"),
    ],
)
def test_what_is_no_toml_is_told_where(directory: Path, text: str, where: str) -> None:
    done = run("config", "check", write(directory, text))
    assert done.returncode == 1
    assert f"jackfield.toml{where}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_bytes_that_are_no_text_and_files_that_are_not_there(directory: Path) -> None:
    path = directory / "jackfield.toml"
    path.write_bytes(b'queue = "1M"\nx = "\xff"\n')
    assert f"{path}:2:6: it is not UTF-8 text" in run("config", "check", path).stderr
    missing = run("config", "check", directory / "none.toml")
    assert missing.returncode == 1
    assert "No such file" in missing.stderr


def test_every_option_of_serve_has_a_key() -> None:
    names = set(inspect.signature(serve).parameters) - {"context", "config"}
    assert {setting.name for setting in settings()} == names
    options = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", run("serve", "--help").stdout, re.MULTILINE))
    keys = {setting.key for setting in settings()}
    assert len(keys) == len(settings())
    assert keys - {"listen"} == options - {"help", "config"}


def test_what_init_writes_has_every_key_and_is_right(directory: Path) -> None:
    path = directory / "new.toml"
    assert run("config", "init", path).stdout == f"{path}\n"
    text = path.read_text()
    assert run("config", "check", path).stdout == f"{path}: fine\n"
    for setting in settings():
        assert re.search(rf"^# {re.escape(setting.key)} = ", text, re.MULTILINE), setting.key
    # Uncommented as it stands, it is right, too.
    path.write_text(re.sub(r"^# ([a-z-]+ = )", r"\1", text, flags=re.MULTILINE))
    done = run("config", "check", path)
    assert done.stdout == f"{path}: fine\n", done.stderr
    refused = run("config", "init", path)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert json.loads(run("config", "init", path, "--force", "--json").stdout) == {"file": str(path)}
    assert json.loads(run("config", "init", "-", "--json").stdout) == {"text": text}
    assert path.read_text() == text
    assert run("config", "init", "-").stdout == text
    # Without a name it goes where `serve` looks.
    home = {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "etc")}
    assert run("config", "init", **home).stdout == f"{directory}/etc/jackfield/jackfield.toml\n"
    assert run("config", "check", **home).stdout == f"{directory}/etc/jackfield/jackfield.toml: fine\n"


def test_show_says_where_each_value_comes_from(directory: Path) -> None:
    path = write(directory, '\nframing = "u32"\nlisten = ["127.0.0.1:7000"]\n')
    rows = {row["key"]: row for row in json.loads(run("config", "show", path, "--json").stdout)}
    assert rows["framing"] == {"key": "framing", "value": "u32", "from": f"{path}:2"}
    assert rows["listen"] == {"key": "listen", "value": ["127.0.0.1:7000"], "from": f"{path}:3"}
    assert rows["eol"] == {"key": "eol", "value": "lf", "from": "default"}
    shown = run("config", "show", path).stdout
    assert f"{path}:2" in shown
    assert re.search(r'(?m)^log-keep +"7d,1G" +default$', shown)
    assert re.search(r"(?m)^metrics +not set +default$", shown)


def test_check_says_which_values_have_the_wrong_type(directory: Path) -> None:
    path = directory / "wrong.toml"
    path.write_text('state = 7\naudit = 5\nscript = "/nope.py"\nmax-clients = "many"\n')
    checked = run("config", "check", str(path))
    for words in (
        "state: 7 is not the text of a path",
        "audit: 5 is not the text of a path",
        "script: '/nope.py' is not a list of texts",
        "max-clients: 'many' is not a whole number",
    ):
        assert words in checked.stderr


def test_the_file_counts_the_command_line_more_and_a_reload_reads_it_again(directory: Path) -> None:
    path = write(
        directory, 'listen = ["tcp://127.0.0.1:0"]\nframing = "u32"\nmax-clients = 7\nqueue = "64K"\n'
    )
    hub = HubProcess("--config", str(path), "--max-clients", "9", control=directory / "hub.sock")
    try:
        status = json.loads(hub.do("status", "--json"))
        assert status["config"] == str(path)
        assert status["max_clients"] == 9
        assert status["queue_limit"] == 65536
        assert status["listeners"][0]["framing"] == "u32"
        # What is wrong harms nobody, and is told with its place.
        path.write_text('listen = ["tcp://127.0.0.1:0"]\nqueue = "64Q"\n')
        failed = hub.run("reload")
        assert failed.returncode == 1
        assert f"{path}:2:9: queue: '64Q' is not a size".encode() in failed.stderr
        assert json.loads(hub.do("status", "--json"))["pid"] == hub.pid
        # What is right counts; a listener more is opened, the other one stays.
        before = hub.listening
        path.write_text('listen = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\nqueue = "128K"\n')
        hub.do("reload")
        status = json.loads(hub.do("status", "--json"))
        assert status["queue_limit"] == 131072
        assert status["listeners"][0]["address"] == before[0]
        assert status["listeners"][1]["address"].startswith("udp://127.0.0.1:")
        assert status["max_clients"] == 9
        # One less: its clients cannot be kept.
        path.write_text('listen = ["udp://127.0.0.1:0"]\n')
        hub.do("reload")
        assert len(json.loads(hub.do("status", "--json"))["listeners"]) == 1
    finally:
        hub.end()


def test_nothing_to_listen_on(directory: Path) -> None:
    done = run("serve", "--config", "none")
    assert done.returncode == 2
    assert "nothing to listen on" in done.stderr


def test_a_path_is_a_text_and_a_list_has_elements_of_its_kind(directory: Path) -> None:
    file = directory / "wrong.toml"
    file.write_text('state = 7\naudit = 5\nscript = "/hooks.py"\n')
    done = run("config", "check", str(file))
    assert done.returncode != 0
    for line, words in [
        (1, "state: 7 is not the text of a path"),
        (2, "audit: 5 is not the text of a path"),
        (3, "script: '/hooks.py' is not a list of texts such as ['FILE']"),
    ]:
        assert re.search(rf":{line}:\d+: {re.escape(words)}", done.stderr), done.stderr
