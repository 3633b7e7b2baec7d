"""What the operating commands print."""

from __future__ import annotations

from typing import Any

from jackfield.cli.views import checksums_table, clients_table, counted, status_lines
from jackfield.hub.checksums import CATALOGUE
from jackfield.hub.display import width_of

NOW = 1795176000.0


def client(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "name": "tcp-1",
        "protocol": "tcp",
        "local": "127.0.0.1:7000",
        "peer": "127.0.0.1:40122",
        "since": "2026-11-20T11:59:00.000Z",
        "bytes_in": 5,
        "bytes_out": 2048,
        "queued": 0,
        "dropped": 0,
        "framing": "none",
        **changes,
    }


def test_the_table() -> None:
    lines = clients_table(
        [client(), client(id=12, name="door", protocol="unix+seqpacket", peer="pid:7")], now=NOW, width=80
    )
    assert lines == [
        "ID  NAME   PROTO      LOCAL           PEER             SINCE  IN   OUT  QUEUED",
        " 1  tcp-1  tcp        127.0.0.1:7000  127.0.0.1:40122  1m00s   5  2.0K       0",
        "12  door   seqpacket  127.0.0.1:7000  pid:7            1m00s   5  2.0K       0",
    ]


ABSENT = {
    "id": None,
    "name": "boiler-room-1",
    "state": "absent",
    "protocol": "udp",
    "peer": "192.168.100.200:40122",
    "since": "2026-11-20T09:59:00.000Z",
    "tags": ["cellar"],
    "note": "key at the desk",
}


def test_state_tags_and_notes_are_shown_as_far_as_there_is_room() -> None:
    clients = [
        client(state="connected", tags=["floor1", "spare"], note=""),
        client(id=12, name="tcp-12", state="connected", tags=[], conflict="boiler-room-1"),
        ABSENT,
    ]
    assert clients_table(clients, now=NOW, width=80) == [
        "ID  NAME           STATE      TAGS      PROTO  PEER             SINCE  NOTE",
        " 1  tcp-1          connected  floor1,…  tcp    127.0.0.1:40122  1m00s",
        "12  tcp-12         claims b…            tcp    127.0.0.1:40122  1m00s",
        " -  boiler-room-1  absent     cellar    udp    192.168.100.20…  2h01m  key at t…",
    ]
    wide = clients_table(clients, now=NOW, width=200)
    assert wide[0] == (
        "ID  NAME           STATE                 TAGS          PROTO  LOCAL           "
        "PEER                   SINCE  IN   OUT  QUEUED  NOTE"
    )
    assert wide[2].split() == [
        "12", "tcp-12", "claims", "boiler-room-1", "tcp", "127.0.0.1:7000", "127.0.0.1:40122", "1m00s",
        "5", "2.0K", "0",
    ]  # fmt: skip
    assert wide[3].split()[:6] == ["-", "boiler-room-1", "absent", "cellar", "udp", "-"]


def test_drops_are_shown_when_there_are_some() -> None:
    lines = clients_table([client(dropped=3)], now=NOW, width=100)
    assert lines[0].endswith("QUEUED  DROPPED")
    assert lines[1].endswith("0        3")


def test_the_widest_client_fits_80_columns() -> None:
    wide = client(
        id=123456,
        name="a-name-of-sixty-four-characters-" * 2,
        protocol="unix+seqpacket",
        local="/run/user/1000/some/very/long/path/to/a/socket",
        peer="[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535",
        bytes_in=999 << 40,
        bytes_out=999 << 40,
        queued=999 << 20,
    )
    assert max(map(width_of, clients_table([wide], now=NOW, width=80))) <= 80
    assert "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535" in clients_table([wide], now=NOW, width=None)[1]


def test_a_hostile_path_is_harmless() -> None:
    lines = clients_table([client(peer="/tmp/\x1b]0;owned\x07")], now=NOW, width=None)
    assert "\x1b" not in "".join(lines)


def test_status() -> None:
    status = {
        "pid": 7,
        "version": "0.1",
        "since": "2026-11-20T11:00:00.000Z",
        "clients": 2,
        "joined": 3,
        "refused": 0,
        "max_clients": 100,
        "queue_limit": 1 << 20,
        "message_limit": 1 << 16,
        "state": "/state/hub.db",
        "state_problem": "",
        "listeners": [{"address": "tcp://127.0.0.1:7000", "framing": "none", "ending": "lf"}],
    }
    assert status_lines(status, now=NOW) == [
        "hub 0.1, pid 7, up 1h00m",
        "clients 2 of at most 100; joined 3, refused 0",
        "limits: 1.0M queued per client, 64K per message",
        "state: /state/hub.db",
        "listening on:",
        "  tcp://127.0.0.1:7000  framing none, typed lines end with lf",
    ]
    full = {**status, "state_problem": "no space is left on the disk"}
    assert "state: /state/hub.db (not saved: no space is left on the disk)" in status_lines(full, now=NOW)
    assert "state: kept nowhere, ends with the hub" in status_lines({**status, "state": None}, now=NOW)


def test_counting() -> None:
    assert [counted(n) for n in (0, 1, 2)] == ["0 clients", "1 client", "2 clients"]


def test_the_catalogue_of_checksums_fits_a_terminal() -> None:
    whole, fitted = checksums_table(CATALOGUE), checksums_table(CATALOGUE, width=80)
    assert max(map(len, whole)) > 80 >= max(map(len, fitted))
    assert [line.split()[:2] for line in fitted] == [line.split()[:2] for line in whole]
