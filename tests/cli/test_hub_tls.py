"""The hub over TLS: its own certificate, plain clients, native ones and operators by the pin."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from pathlib import Path
from typing import TypeVar

import pytest
from programs import HubProcess, StartHub, wait_for
from test_refusals import Native, Operator

from jackfield.hub.security.certificate import fingerprint

pytestmark = pytest.mark.timeout(180)

Peer = TypeVar("Peer", Native, Operator)


def wrapped(port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))


def over_tls(kind: type[Peer], port: int) -> Peer:
    made = kind.__new__(kind)
    made.socket = wrapped(port)
    made.reader = made.socket.makefile("rb")
    return made


def operators_port(hub: HubProcess) -> int:
    return int(hub.seen(rb" operators address=\S+:(\d+)")[1])


def test_a_certificate_is_made_once_and_its_pin_is_told(start_hub: StartHub, directory: Path) -> None:
    arguments = ("tls://127.0.0.1:0", "--state", str(directory / "hub.db"))
    pins = []
    for _ in range(2):
        hub = start_hub(*arguments)
        with wrapped(hub.port()) as plain:
            shown = plain.getpeercert(binary_form=True)
            assert shown is not None
            plain.sendall(b"hello\n")
            wait_for(lambda hub=hub: hub.clients(), "the client")
            assert hub.clients()[0]["protocol"] == "tls"
            hub.do("send", "1", "good day")
            assert plain.recv(100) == b"good day\n"
        pins.append(json.loads(hub.do("status", "--json"))["security"]["fingerprint"])
        assert hub.terminate() == 0
    assert pins == [fingerprint(directory / "hub.cert.pem")] * 2
    assert stat.S_IMODE((directory / "hub.key.pem").stat().st_mode) == 0o600


def test_an_invitation_has_the_pin_and_lets_one_in(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tls://127.0.0.1:0,access=token", "--state", str(directory / "hub.db"))
    (invitation,) = json.loads(hub.do("invite", "--name", "ann", "--json"))["invitations"]
    assert f"pin={fingerprint(directory / 'hub.cert.pem')}" in invitation
    secret = invitation.partition("invitation=")[2]
    client = over_tls(Native, hub.port())
    assert client.hello(secret)["name"] == "ann"
    client.close()
    again = over_tls(Native, hub.port())
    assert again.hello(secret)["code"] == "used_token"
    again.close()


def test_operators_come_over_tls(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub(
        "tcp://127.0.0.1:0", "tls://127.0.0.1:0,protocol=control", "--state", str(directory / "hub.db")
    )
    hub.environment["JACKFIELD_TOKEN"] = json.loads(
        hub.do("token", "create", "--role", "operator", "--json")
    )["token"]
    pin = fingerprint(directory / "hub.cert.pem")
    where = f"tls://127.0.0.1:{operators_port(hub)}"
    assert b"hub " in hub.do("--hub", f"{where}?pin={pin}", "status")
    wrong = hub.run("--hub", f"{where}?pin=sha256:{'0' * 64}", "status")
    assert wrong.returncode == 3
    operator = over_tls(Operator, operators_port(hub))
    assert operator.ask("status")["error"]["code"] == "forbidden"
    operator.close()
