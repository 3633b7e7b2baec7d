"""Names that look like another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_peer import Peer, running_hub
from support import Runner

from jackfield.hub.security.lookalikes import looks


@pytest.mark.parametrize(
    "other",
    ["\u0430lice", "ALICE", "a1ice", "a\u04cfice", "\uff41lice", "\u03b1lice", "al\u0456\u0441\u0435"],
)  # fmt: skip
def test_what_looks_alike(other: str) -> None:
    assert looks(other) == looks("alice")


@pytest.mark.parametrize("other", ["alicia", "alice2", "\u00e1lice", "\u30a2\u30ea\u30b9", "bob"])
def test_what_does_not(other: str) -> None:
    assert looks(other) != looks("alice")


def test_names_that_look_like_one_with_a_token_are_refused(run_here: Runner, directory: Path) -> None:
    async def refusal(hub: object, **hello: object) -> str:
        peer = await Peer.connect(hub)  # type: ignore[arg-type]
        peer.hello(**hello)
        code = str((await peer.event("error"))["code"])
        await peer.ended()
        return code

    async def main() -> None:
        async with running_hub(directory) as hub:
            tokens, now = hub.security.tokens, hub.security.now()
            alice = tokens.create(now, name="alice")[1]
            peers = [await Peer.join(hub, token=alice)]
            for name in ("\u0430lice", "a1ice", "Alice", "\u043eper\u0430tor", "0perator", "hu\u0432"):
                assert await refusal(hub, name=name) == "name_taken", name
            invitation = tokens.create(now, kind="invitation", expires=now + 60)[1]
            assert await refusal(hub, name="\u0430lice", token=invitation) == "name_taken"
            for name in ("alicia", "\u0430\u043b\u0438\u0441\u0430", "bob"):
                peers.append(await Peer.join(hub, name=name))
            peers.append(await Peer.join(hub, token=invitation, name="carol"))
            for peer in peers:
                await peer.close()

    run_here(main)
