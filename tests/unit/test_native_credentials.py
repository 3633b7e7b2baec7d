"""What redeemed invitations are kept in, and how a place is read."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import jackfield
from jackfield import InvalidAddress, portable
from jackfield.hub import connect
from jackfield.native.credentials import CredentialsError, credentials_file, forget, keep, load, with_kept
from jackfield.native.invitation import read_place

INVITATION = "tls://hub:7000?pin=sha256:" + "5f" * 32 + "&invitation=jf_invitation"


def test_an_invitation_is_a_place_with_a_token() -> None:
    place = read_place(INVITATION)
    assert place.token == "jf_invitation"
    assert place.key == "tls://hub:7000"
    assert "jf_" not in str(place.address)
    assert place.address.option("pin") == "sha256:" + "5f" * 32
    assert read_place("tcp://hub:1?framing=line").address == jackfield.Address.parse("tcp://hub:1")
    with pytest.raises(jackfield.InvalidAddress, match="no hub can be joined"):
        read_place("udp://hub:1")


def test_a_token_is_kept_for_its_hub_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "credentials.json"
    place = read_place(INVITATION)
    assert load(place, file) is None
    keep(place, "jf_lasting", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "jf_invitation" not in file.read_text()
    for text in (INVITATION, "tls://hub:7000", "tls://hub:7000?token=jf_lasting"):
        found = with_kept(read_place(text), file)
        assert found.token == "jf_lasting"
        assert found.address.option("pin") == "sha256:" + "5f" * 32
    for text in ("tls://hub:7001", "tls://other:7000", "tcp://hub:7000"):
        assert with_kept(read_place(text), file) == read_place(text)
    other = read_place("tls://hub:7000?invitation=jf_another")
    assert with_kept(other, file) == other
    keep(other, "jf_newer", file)
    assert with_kept(read_place("tls://hub:7000"), file).token == "jf_newer"
    assert [path.name for path in file.parent.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_damaged_file_is_said_and_kept(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)
    with pytest.raises(CredentialsError, match="credentials in"):
        load(read_place(INVITATION), file)
    assert file.read_text() == content
    file.write_text(json.dumps({"tls://hub:7000": {"token": 1}}))
    assert load(read_place(INVITATION), file) is None


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert credentials_file() == Path("/data/jackfield/credentials.json")


@pytest.mark.parametrize(
    ("address", "readable"),
    [
        ("tcp://127.0.0.1:7000", False),
        ("tcp://[::1]:7000", False),
        ("tcp://localhost:7000", False),
        ("unix:///run/hub", False),
        ("tls://hub.example:7000", False),
        ("wss://hub.example:443/native", False),
        ("tcp://hub.example:7000", True),
        ("tcp://10.9.9.9:7000", True),
        ("tcp://[fe80::1]:7000", True),
        ("ws://hub.example:80/native", True),
    ],
)
def test_a_token_is_kept_from_networks_without_tls(address: str, readable: bool) -> None:
    invitation = address + ("&" if "?" in address else "?") + "invitation=jf_x"
    place = read_place(address)
    assert portable.is_readable(place.address.scheme, place.address.host) is readable
    connect(address)  # without a token there is nothing to read
    connect(address, token="jf_x", insecure_token=True)
    if readable:
        with pytest.raises(InvalidAddress, match="everyone on the way could read the token"):
            connect(address, token="jf_x")
        with pytest.raises(ValueError, match="everyone on the way could read the token"):
            portable.connect(address, token="jf_x")
    else:
        connect(address, token="jf_x")
    if readable and not address.startswith("ws"):
        with pytest.raises(InvalidAddress, match="everyone on the way") as caught:
            connect(invitation)
        assert "jf_x" not in str(caught.value)


def test_what_is_kept_can_be_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    one, two = read_place("tcp://hub:1"), read_place("tcp://hub:2")
    assert not forget(one, file)
    keep(one, "jf_one", file)
    keep(two, "jf_two", file)
    assert forget(one, file)
    assert load(one, file) is None
    assert load(two, file) is not None
