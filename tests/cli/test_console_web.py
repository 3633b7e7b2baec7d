"""`jackfield console --web` and `serve --web`: the link, where it leads, and what a reload leaves of it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from programs import HubProcess, StartHub, wait_for

from jackfield import portable


def link(hub: HubProcess, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(hub.do("console", "--web", "--json", *more))
    return found


def ask(
    address: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    cookie: str = "",
    context: ssl.SSLContext | None = None,
) -> tuple[int, Any, str]:
    """Status, answer, and the cookie that was set."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"origin": address, "content-type": "application/json", "cookie": cookie}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, data, headers), timeout=10, context=context
        ) as answer:
            set_cookie = (answer.headers["set-cookie"] or "").partition(";")[0]
            return answer.status, json.loads(answer.read()), set_cookie
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read()), ""


def test_a_link_logs_in_once(hub: HubProcess) -> None:
    made = link(hub)
    address, _, code = made["url"].partition("/login#")
    assert address == made["address"]
    status, _, cookie = ask(address, "/api/v1/login", body={"code": code})
    assert status == 200
    assert ask(address, "/api/v1/status", cookie=cookie)[1]["clients"] == 0
    assert ask(address, "/api/v1/login", body={"code": code})[0] == 401
    assert hub.do("console", "--web").decode().startswith(f"{address}/login#")


def test_the_console_survives_a_reload(hub: HubProcess) -> None:
    made = link(hub)
    address, _, code = made["url"].partition("/login#")
    _, _, cookie = ask(address, "/api/v1/login", body={"code": code})
    before = ask(address, "/api/v1/status", cookie=cookie)[1]["pid"]
    hub.do("reload")

    def successor() -> Any:
        try:
            return ask(address, "/api/v1/status", cookie=cookie)
        except (urllib.error.URLError, ConnectionError):
            return None

    status, found, _ = wait_for(successor, "the console of the successor", deadline=40.0)
    assert status == 200
    assert found["pid"] != before
    hub.do("stop")


def test_a_fixed_address_is_served_from_the_start(start_hub: StartHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    hub = start_hub("tcp://127.0.0.1:0", "--web", f"127.0.0.1:{port}")
    assert ask(f"http://127.0.0.1:{port}", "/api/v1/session")[0] == 401
    assert link(hub)["address"] == f"http://127.0.0.1:{port}"
    again = hub.run("console", "--web", "--address", "127.0.0.1:1")
    assert (again.returncode, b"already" in again.stderr) == (1, True)


def test_over_tls_it_survives_a_reload(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--state", str(directory / "hub.db"))
    made = link(hub, "--address", "tls://127.0.0.1:0")
    address, _, code = made["url"].partition("/login#")
    assert address.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(directory / "hub.cert.pem"))
    cookie = ask(address, "/api/v1/login", body={"code": code}, context=context)[2]
    assert cookie.startswith("__Host-jackfield_")
    before = ask(address, "/api/v1/status", cookie=cookie, context=context)[1]["pid"]
    hub.do("reload")

    def successor() -> Any:
        try:
            return ask(address, "/api/v1/status", cookie=cookie, context=context)
        except (urllib.error.URLError, ConnectionError):
            return None

    status, found, _ = wait_for(successor, "the console of the successor", deadline=40.0)
    assert status == 200
    assert found["pid"] != before
    assert json.loads(hub.do("status", "--json"))["security"]["fingerprint"].startswith("sha256:")
    hub.do("stop")


def test_over_tls_it_needs_a_certificate(start_hub: StartHub) -> None:
    hub = start_hub("tcp://127.0.0.1:0", "--state", "none")
    for address in ("0.0.0.0:0", "tls://127.0.0.1:0"):
        refused = hub.run("console", "--web", "--address", address)
        assert refused.returncode == 1
        assert b"certificate" in refused.stderr


def test_its_options_need_it(hub: HubProcess) -> None:
    refused = hub.run("console", "--json")
    assert (refused.returncode, b"add --web" in refused.stderr) == (2, True)


def test_an_invitation_leads_to_where_websocket_clients_come(start_hub: StartHub, directory: Path) -> None:
    hub = start_hub("127.0.0.1:0", "--web", "tls://0.0.0.0:0", "--state", str(directory / "hub.db"))
    port = hub.seen(rb" web url=https://127\.0\.0\.1:(\d+)")[1].decode()
    asked = ("invite", "--host", "127.0.0.1", "--name", "ann")
    best, other = json.loads(hub.do(*asked, "--json"))["invitations"]
    where = rf"wss://127\.0\.0\.1:{port}/native\?jf\.pin=sha256:[0-9a-f]{{64}}&jf\.invitation=jf_"
    assert re.match(where, best), best
    assert other.startswith("tcp://127.0.0.1:")
    invitation = hub.do(*asked, "--listener", port).decode().strip()
    with portable.connect(invitation) as client:
        assert client.name == "ann"
        assert client.token is not None
    refused = hub.run("invite", "--listener", "1")
    assert f"wss://0.0.0.0:{port}/native".encode() in refused.stderr
