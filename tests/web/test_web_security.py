"""Who gets into the web console: links, sessions, hosts, origins, tokens, limits, headers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from consoles import console, reply
from support import Runner, eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jackfield.hub.protocol import RequestError
from jackfield.web import part, server
from jackfield.web.guard import HEADERS, Attempts, is_own_host, is_own_origin
from jackfield.web.logins import LINK_SECONDS, MAX_LINKS, MAX_SESSIONS, SESSION_SECONDS, LoginRefused, Logins
from jackfield.web.openapi import document


def test_every_endpoint_wants_a_login(run_here: Runner) -> None:
    async def main() -> None:
        async with console(login=False) as made:
            paths = [*document(version="1")["paths"].items(), ("/api/v1/openapi.json", {"get": {}})]
            for path, methods in paths:
                for method in methods:
                    if path == "/api/v1/login":
                        continue
                    answer = await made.browser.request(method, path, headers=made.headers)
                    assert answer.status_code == 401, (method, path)
                    token = {"authorization": "Bearer jf_nonsense"}
                    made.web._site.attempts = Attempts()  # type: ignore[union-attr]
                    answer = await made.browser.request(method, path, headers=token)
                    assert answer.status_code == 401, (method, path)

    run_here(main)


def test_a_link_is_good_once(run_here: Runner) -> None:
    async def main() -> None:
        async with console(login=False) as made:
            code = await made.code()
            answers = [await made.login(code) for _ in range(2)]
            assert [each.status_code for each in answers] == [200, 401]
            assert answers[1].json()["error"]["code"] == "used_token"
            cookie = answers[0].headers["set-cookie"]
            assert cookie.startswith(f"jackfield_{made.url.rpartition(':')[2]}=")
            assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
            assert "Domain" not in cookie

    run_here(main)


def test_links_and_sessions_end_and_are_bounded() -> None:
    logins = Logins()
    code = logins.link(0.0, name="pid:1", role="admin")
    with pytest.raises(LoginRefused) as refused:
        logins.begin(LINK_SECONDS, code)
    assert refused.value.code == "bad_token"
    secret, login = logins.begin(0.0, logins.link(0.0, name="pid:1", role="admin"))
    assert logins.find(SESSION_SECONDS - 1, secret) == login
    assert logins.find(SESSION_SECONDS, secret) is None
    assert logins.find(1.0, login.key) is None, "what names a session opens none"
    first = logins.link(1.0, name="pid:1", role="admin")
    for _ in range(MAX_LINKS):
        logins.link(1.0, name="pid:1", role="admin")
    with pytest.raises(LoginRefused):
        logins.begin(1.0, first)
    for _ in range(MAX_SESSIONS):
        logins.open(1.0, name="pid:1", role="admin")
    assert logins.find(1.0, secret) is None


def test_sessions_go_over_to_a_successor_without_their_secrets() -> None:
    logins, successor = Logins(), Logins()
    secret, login = logins.open(0.0, name="pid:1", role="admin")
    handed = logins.hand_over()
    assert secret not in str(handed)
    successor.take_over(handed)
    assert successor.find(1.0, secret) == login


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "[::1"]
)
def test_another_host_name_is_refused(run_here: Runner, host: str) -> None:
    async def main() -> None:
        async with console() as made:
            given = host.replace("{port}", made.url.rpartition(":")[2])
            for path in ("/", "/login", "/api/v1/session", "/api/v1/clients"):
                answer = await made.browser.get(path, headers={"host": given})
                assert answer.status_code in (400, 403), path
                assert "pid" not in answer.text

    run_here(main)


def test_hosts_and_origins_are_told_apart() -> None:
    for host in ("127.0.0.1:80", "localhost:80", "LOCALHOST:80", "[::1]:80", "10.0.0.7:80", "box:80"):
        assert is_own_host(host, port=80, names=("box",)), host
    for host in (
        "box.example:80",
        "127.0.0.1.example:80",
        "127.0.0.1",
        "[::1]",
        "0x7f.1:80",
        "box:81",
        "box:٨٠",
        "",
    ):
        assert not is_own_host(host, port=80, names=("box",)), host
    assert is_own_origin("http://a:1", host="a:1", secure=False)
    for origin in (None, "null", "http://a:2", "https://a:1", "http://a:1/", "http://b:1"):
        assert not is_own_origin(origin, host="a:1", secure=False), origin


def test_a_page_of_another_site_can_change_nothing(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            own = made.headers
            wrong = [
                {},
                {"x-csrf-token": made.csrf},
                {"origin": made.url},
                {**own, "origin": "http://evil.example"},
                {**own, "origin": "null"},
                {**own, "x-csrf-token": "x" * len(made.csrf)},
                {**own, "x-csrf-token": ""},
            ]
            for headers in wrong:
                for path in ("/api/v1/stop", "/api/v1/kick", "/api/v1/logout", "/api/v1/web_link"):
                    answer = await made.browser.post(path, json={}, headers=headers)
                    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
            foreign = await made.browser.post(
                "/api/v1/login", json={"code": await made.code()}, headers={"origin": "http://evil.example"}
            )
            assert foreign.status_code == 403

    run_here(main)


def test_a_page_of_another_site_cannot_listen(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": ""},
                {"Cookie": ""},
                {"Cookie": "jackfield_1=x"},
                {"Authorization": "Bearer jf_nonsense"},
            ):
                with pytest.raises(InvalidStatus) as refused:
                    async with made.live(**headers):
                        pass
                assert refused.value.response.status_code == 403

    run_here(main)


def test_logging_out_ends_what_goes_on(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, made.live() as live:
            await live.send('{"id": 1, "op": "hello"}')
            await live.recv()
            cookie = made.cookie
            await made.ask("logout")
            with pytest.raises(ConnectionClosed) as closed:
                await live.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401
            made.browser.cookies.clear()
            answer = await made.browser.get("/api/v1/session", headers={"cookie": cookie})
            assert answer.status_code == 401

    run_here(main)


def test_logins_are_counted(run_here: Runner) -> None:
    async def main() -> None:
        async with console(login=False) as made:
            codes = [(await made.login("jfl_wrong")).status_code for _ in range(11)]
            assert codes == [401] * 10 + [429]
            late = await made.login(await made.code())
            assert late.status_code == 429
            assert 1 <= int(late.headers["retry-after"]) <= 60

    run_here(main)


def test_attempts_are_counted_by_place_and_in_all() -> None:
    attempts = Attempts(most=2, of_all=3, period=10.0)
    assert [attempts.wait(0.0, "a") for _ in range(3)] == [0.0, 0.0, 10.0]
    assert attempts.wait(5.0, "b") == 0.0
    assert attempts.wait(5.0, "c") == 5.0
    assert attempts.wait(10.0, "a") == 0.0


def test_every_answer_has_the_headers(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            paths = ["/", "/login", "/static/css/base.css", "/api/v1/status", "/api/v1/nothing", "/nothing"]
            for path in paths:
                answer = await made.browser.get(path)
                assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
                assert "server" not in answer.headers
                assert answer.headers["cache-control"] in ("no-store", "no-cache")
            policy = HEADERS["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy

    run_here(main)


def test_nothing_but_the_pages_is_served(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            port = int(made.url.rpartition(":")[2])
            for path in (
                "/static/../app.py",
                "/static/..%2fapp.py",
                "/static/%2e%2e/app.py",
                "/static//etc/passwd",
                "/static/js/..%5c..%5capp.py",
                "/static/%00",
                "/static/",
                "/static/js",
                "//evil.example/",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = await reader.read()
                writer.close()
                assert answer.split(b" ")[1] in (b"400", b"404"), (path, answer[:200])
                assert b"Starlette" not in answer

    run_here(main)


def test_a_body_too_long_is_refused(run_here: Runner) -> None:
    async def main() -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b" " * 65536

        async with console() as made:
            headers = {**made.headers, "content-type": "application/json"}
            whole = await made.browser.post("/api/v1/send", content=b" " * (9 << 20), headers=headers)
            pieces = await made.browser.post("/api/v1/send", content=endless(), headers=headers)
            login = await made.browser.post("/api/v1/login", json={"code": "x" * 5000}, headers=headers)
            assert [each.status_code for each in (whole, pieces, login)] == [413] * 3

    run_here(main)


def test_who_says_nothing_is_hung_up_on(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST", 0.2)

    async def main() -> None:
        async with console() as made:
            port = int(made.url.rpartition(":")[2])
            for said in (b"", b"GET / HTTP/1.1\r\nHost: x"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(said)
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(), 10) == b""
                writer.close()

    run_here(main)


def test_a_websocket_is_not_hung_up_on(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST", 0.2)

    async def main() -> None:
        async with console() as made, made.live() as live:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(made.url.rpartition(":")[2]))
            with contextlib.suppress(ConnectionResetError):  # a later one that says nothing is given up
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert (await reply(live, {"id": 1, "op": "hello"}))["ok"]["protocol"] == 1

    run_here(main)


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000]
)
def test_garbage_harms_nothing(run_here: Runner, garbage: bytes) -> None:
    async def main() -> None:
        async with console() as made:
            port = int(made.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert (await made.read("status"))["clients"] == 0

    run_here(main)


def test_it_is_not_served_to_other_machines_without_a_certificate(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            other = part.Web()
            await made.hub.attach(other)
            for address in ("0.0.0.0:0", "[::]:0", "10.1.2.3:80", "example.org:80"):
                with pytest.raises(RequestError, match="keeps none"):
                    await other.link(by="pid:1", address=address)
            with pytest.raises(RequestError, match="over TCP"):
                await other.link(by="pid:1", address="udp://127.0.0.1:0")

    run_here(main)


def test_an_address_in_use_is_said(run_here: Runner) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with console() as made:
                other = part.Web()
                await made.hub.attach(other)
                with pytest.raises(RequestError, match="already in use"):
                    await other.link(by="pid:1", address=f"127.0.0.1:{taken.getsockname()[1]}")

    run_here(main)


def test_what_is_missing_is_named(run_here: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "NEEDED", ("starlette", "no_such_package"))

    async def main() -> None:
        with pytest.raises(RequestError, match="needs no_such_package") as refused:
            async with console():
                pass
        assert "jackfield[web]" in refused.value.hint

    run_here(main)


def test_what_operators_do_in_a_browser_is_in_the_log(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            await made.ask("kick", target="all")
            kicked = [event for event in made.hub.journal.last(10) if event.kind == "kicked"]
            login = [event for event in made.hub.journal.last(10) if event.kind == "login"]
            who = dict(login[0].facts)["operator"]
            assert dict(kicked[0].facts)["by"] == who
            assert made.csrf not in str(made.hub.journal.last(50))
            await eventually(lambda: not made.hub.within)

    run_here(main)


def test_a_token_of_the_hub_opens_the_api_as_far_as_its_role(run_here: Runner) -> None:
    async def main() -> None:
        async with console(login=False) as made:
            tokens = made.hub.security.tokens
            now = made.hub.security.now()
            by_role = {
                role: tokens.create(now, role=role, name=role) for role in ("member", "operator", "admin")
            }
            allowed = {"member": {"hello"}, "operator": {"hello", "status", "notations", "script_list"}}
            for role, (_, secret) in by_role.items():
                headers = {"authorization": f"Bearer {secret}"}
                for op in ("hello", "status", "notations", "script_list"):
                    answer = await made.browser.get(f"/api/v1/{op}", headers=headers)
                    good = role == "admin" or op in allowed[role]
                    assert answer.status_code == (200 if good else 403), (role, op)
                answer = await made.browser.post("/api/v1/script_add", json={"path": "/x"}, headers=headers)
                assert (answer.status_code == 403) is (role != "admin")
            token, secret = by_role["operator"]
            async with made.live(Authorization=f"Bearer {secret}", Origin="", Cookie="") as live:
                assert (await reply(live, {"id": 1, "op": "status"}))["ok"]["clients"] == 0
                assert (await reply(live, {"id": 2, "op": "stop"}))["error"]["code"] == "forbidden"
                await made.hub.security.revoke(token.id)
                with pytest.raises(ConnectionClosed):
                    await live.recv()
            gone = await made.browser.get("/api/v1/hello", headers={"authorization": f"Bearer {secret}"})
            assert gone.status_code == 401
            _, invitation = tokens.create(now, kind="invitation", role="admin")
            headers = {"authorization": f"Bearer {invitation}"}
            assert (await made.browser.get("/api/v1/hello", headers=headers)).status_code == 401

    run_here(main)
