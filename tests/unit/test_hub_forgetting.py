"""Who is absent for long is forgotten, where the hub is told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_peer import Peer, native_of, running_hub
from support import Runner, eventually

from jackfield.cli.serve import settings_of
from jackfield.cli.views import status_lines
from jackfield.hub.assembly import parts_of
from jackfield.hub.forgetting import Forgetting
from jackfield.hub.native.handshake import SAID
from jackfield.hub.status import status
from jackfield.hub.text import TextError

DAY = 86_400.0
OPTIONS = dict.fromkeys(
    ("config", "metrics", "web", "audit", "max_clients", "queue", "max_message", "log_dir", "log_keep"), None
) | {
    "framing": "none", "eol": "lf", "messages": False, "identify": "off", "state": "none", "scripts": [],
    "dials": [], "control": None,
}  # fmt: skip


def test_who_is_absent_for_long_is_forgotten(run_here: Runner, directory: Path) -> None:
    """But for those whom an operator made something of, who have a token, or for whom messages wait."""

    async def main() -> None:
        forgetting = Forgetting(DAY)
        async with running_hub(directory, state=directory / "hub.db") as hub:
            await hub.attach(forgetting)
            registry = hub.identities.registry
            token = hub.security.tokens.create(hub.security.now(), name="proven")[1]
            names = ("gone", "noted", "letters", "back")
            peers = [await Peer.join(hub, name=name) for name in names]
            peers += [await Peer.join(hub, token=token)]
            here = await Peer.join(hub, name="here")
            for peer in peers:
                peer.control(type="bye")
                await peer.close()
            await eventually(lambda: len(list(registry.absent())) == 5)
            noted = registry.known_as("noted")
            assert noted is not None
            noted.note = "beside the stairs"
            assert (await here.ask("message", to="letters", text="for you", sequence=1))["state"] == "waiting"
            assert await forgetting.look() == 0
            for entry in registry.absent():
                entry.last -= 2 * DAY
            again = await Peer.join(hub, name="back")
            assert await forgetting.look() == 1
            assert not registry.knows(f"{SAID}gone")
            assert {entry.name for entry in registry.absent()} == {"noted", "letters", "proven"}
            assert status(hub)["forgotten"] == 1
            assert native_of(hub).sessions
            for peer in (again, here):
                await peer.close()
        async with running_hub(directory, state=directory / "hub.db") as hub:
            assert not hub.identities.registry.knows(f"{SAID}gone"), "after a restart, too"
            assert hub.identities.registry.known_as("noted") is not None

    run_here(main)


def test_it_is_off_unless_it_is_asked_for(run_here: Runner, directory: Path) -> None:
    settings = settings_of(["127.0.0.1:0"], forget_after=None, **OPTIONS)  # type: ignore[arg-type]
    assert settings.forget_after is None
    assert not any(isinstance(part, Forgetting) for part in parts_of(settings))
    settings = settings_of(["127.0.0.1:0"], forget_after="90d", **OPTIONS)  # type: ignore[arg-type]
    assert settings.forget_after == 90 * DAY
    assert any(isinstance(part, Forgetting) for part in parts_of(settings))
    for text, why in (("1s", "too short"), ("soon", "not a time")):
        with pytest.raises(TextError, match=why):
            settings_of(["127.0.0.1:0"], forget_after=text, **OPTIONS)  # type: ignore[arg-type]

    async def main() -> None:
        async with running_hub(directory) as hub:
            told = status(hub)
            assert (told["forget_after"], told["forgotten"]) == (None, 0)
            shown = " ".join(
                status_lines({**told, "forget_after": 90 * DAY, "forgotten": 3}, now=hub.clock())
            )
            assert "absent clients are forgotten after 90d; 3 were" in shown

    run_here(main)
