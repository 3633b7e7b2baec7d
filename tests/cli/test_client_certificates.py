"""`access=certificate`: whom a certificate lets in, who it says that is, and what the others are told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from programs import JACKFIELD, HubProcess, Spawn, StartHub, need, wait_for

import jackfield
from jackfield import MadeCertificate, make_certificate, portable
from jackfield.hub import connect

DAY = 86_400.0
SCRIPT = Path(__file__).parents[2] / "examples/clients/jackfield.mjs"


class Authority:
    """Whose certificates the hub takes, and the files of those that were made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made = make_certificate([], subject="fleet", authority=True)
        self.made.save(directory / "fleet.pem", directory / "fleet.key")
        self.ca = directory / "fleet.pem"

    def shown(self, made: MadeCertificate, name: str) -> str:
        """What an address has to show that certificate."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        made.save(cert, key)
        return f"cert={cert}&key={key}"

    def of(self, *names: str, subject: str | None = None, **more: float) -> str:
        made = make_certificate(names, subject=subject, signer=self.made, **more)
        return self.shown(made, names[0] if names else str(subject))


@pytest.fixture
def authority(directory: Path) -> Authority:
    return Authority(directory)


@pytest.fixture
def hub(start_hub: StartHub, directory: Path, authority: Authority) -> HubProcess:
    """Who comes shows a certificate; operators show a token besides."""
    return start_hub(
        f"tls://127.0.0.1:0,access=certificate,ca={authority.ca}",
        f"tls://127.0.0.1:0,protocol=control,access=certificate,ca={authority.ca}",
        "--state",
        str(directory / "hub.db"),
    )


def at(hub: HubProcess, directory: Path, shown: str = "") -> str:
    """The hub's address, by its pin."""
    from jackfield.hub.security.certificate import fingerprint

    pin = fingerprint(directory / "hub.cert.pem")
    return f"tls://127.0.0.1:{hub.port()}?pin={pin}" + (f"&{shown}" if shown else "")


def identities(hub: HubProcess) -> dict[str, str]:
    return {each["name"]: each["identity"] for each in json.loads(hub.do("clients", "--connected", "--json"))}


def test_the_certificate_says_who_comes(
    hub: HubProcess, spawn: Spawn, directory: Path, authority: Authority
) -> None:
    need("openssl", "node")

    async def name_of(shown: str, **more: str) -> str:
        async with connect(at(hub, directory, shown), **more) as client:
            assert client.welcome["role"] == "member"
            return client.name

    async def come() -> None:
        assert await name_of(authority.of("Pump-7.plant.example"), name="boss") == "pump-7.plant.example"
        assert await name_of(authority.of(subject="ann")) == "ann"

    jackfield.run(come)
    with portable.connect(at(hub, directory, authority.of("dev1"))) as client:
        assert client.name == "dev1"
        assert identities(hub) == {"dev1": "native:dev1"}
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ connect }} from {json.dumps(str(SCRIPT))};
        const [cert, key] = ["pem", "key"].map((end) => readFileSync(`{directory}/dev1.${{end}}`));
        const client = await connect({json.dumps(at(hub, directory))}, {{}}, {{ cert, key }});
        console.log(client.connection.welcomed.name);
        client.close();
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "dev1\n", done
    plain = spawn(
        *("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{hub.port()}"),
        *("-cert", directory / "ann.pem", "-key", directory / "ann.key"),
    )
    wait_for(lambda: identities(hub) == {"ann": "native:ann"}, "ann, this time by openssl")
    hub.do("send", "ann", "good day")
    plain.seen(rb"good day\n")


def test_others_are_refused_and_the_log_says_why(
    hub: HubProcess, directory: Path, authority: Authority
) -> None:
    now = time.time()
    other = make_certificate([], subject="another authority", authority=True)
    refused = {
        "": "certificate_required",
        authority.shown(make_certificate(["eve"], signer=other), "eve"): "unknown_issuer",
        authority.shown(make_certificate(["self"]), "self"): "unknown_issuer",
        authority.of("old", start=now - 3 * DAY, seconds=DAY): "certificate_expired",
        authority.of("early", start=now + DAY, seconds=DAY): "certificate_not_yet_valid",
    }
    for shown, cause in refused.items():
        joining = subprocess.run(
            [JACKFIELD, "join", at(hub, directory, shown)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            env={**os.environ, "XDG_DATA_HOME": str(directory)},
        )
        assert joining.returncode == 1, joining
        # Its last words may be lost with the connection.
        assert re.fullmatch(rb".*(certificate|reset|closed).*\n", joining.stderr), joining
        hub.seen(rb" handshake_failed listener=\S+ peer=127\S+ cause=%s reason=" % cause.encode())
        with pytest.raises(OSError) as caught:  # noqa: PT011 - OpenSSL's words, or a reset
            portable.connect(at(hub, directory, shown), reconnect=False)
        assert not isinstance(caught.value, TimeoutError)
    status = json.loads(hub.do("status", "--json"))
    assert status["handshakes_failed"] == status["listeners"][0]["handshakes_failed"] == 2 * len(refused)
    assert status["handshake_causes"]["unknown_issuer"] == 4
    assert b", 10 failed handshakes" in hub.do("status")
    assert hub.clients() == []
    assert b" welcomed " not in hub.out


def test_a_certificate_without_a_usable_name_is_refused(
    hub: HubProcess, directory: Path, authority: Authority
) -> None:
    nameless = at(hub, directory, authority.of("all", subject="two words"))
    with pytest.raises(OSError):  # noqa: PT011 - the connection is reset
        portable.connect(nameless, reconnect=False)
    hub.seen(rb" refused .*its certificate has no name that a client can have")


def test_a_token_beside_it_gives_the_role_and_must_agree(
    hub: HubProcess, directory: Path, authority: Authority
) -> None:
    dev1 = at(hub, directory, authority.of("dev1"))
    boss = json.loads(hub.do("token", "create", "--role", "operator", "--json"))["token"]
    with portable.connect(dev1, token=boss) as client:
        assert client.name == "dev1"
    ann = json.loads(hub.do("token", "create", "--name", "ann", "--json"))["token"]
    with pytest.raises(portable.Refused, match="two different clients") as caught:
        portable.connect(dev1, token=ann)
    assert caught.value.code == "forbidden"
    port = int(hub.seen(rb" operators address=\S+:(\d+)")[1])
    where = dev1.replace(f":{hub.port()}?", f":{port}?")
    environment = {**hub.environment, "JACKFIELD_TOKEN": boss}
    for address, code in ((where, 0), (where.partition("&")[0], 3)):
        command = [JACKFIELD, "--hub", address, "status"]
        done = subprocess.run(command, capture_output=True, timeout=30, env=environment)
        assert done.returncode == code, done


def test_an_authority_that_is_exchanged_counts_from_then_on(
    hub: HubProcess, directory: Path, authority: Authority
) -> None:
    """SIGHUP reads `ca=` again: whoever is there stays, and what the old one has signed lets nobody in."""
    old = at(hub, directory, authority.of("dev1"))
    with portable.connect(old) as there:
        following = make_certificate([], subject="fleet two", authority=True)
        following.save(authority.ca, directory / "fleet.key")
        hub.popen.send_signal(signal.SIGHUP)
        hub.seen(rb" certificates_reloaded listener=")
        with pytest.raises(OSError):  # noqa: PT011 - OpenSSL's words, or a reset
            portable.connect(old, reconnect=False)
        hub.seen(rb" handshake_failed .* cause=unknown_issuer")
        signed = make_certificate(["dev2"], signer=following)
        with portable.connect(at(hub, directory, authority.shown(signed, "dev2"))) as new:
            assert new.name == "dev2"
            new.message("dev1", "from the new fleet", 10.0)
        assert there.receive(10.0).data == b"from the new fleet"
