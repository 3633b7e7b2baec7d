"""How a command comes to a hub as a native client: by its address or an invitation, and what is kept of it.

Owns which token is shown, and what is said where one that was kept decides otherwise than what was typed.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jackfield import Address, State

from ..hub.display import safe_text
from ..native import Client, HubRefused, connect
from ..native.credentials import credentials_file, forget, keep, with_kept
from ..native.invitation import Place, read_place
from .failures import Failure, one_line, say

GOOD_NO_MORE = ("bad_token", "expired_token", "used_token")


@dataclass(frozen=True, slots=True)
class Membership:
    """Where to go, and with what."""

    place: Place
    """What was typed."""
    known: Place
    """The same, with what is kept for it."""
    token: str | None
    """What was given beside it."""

    @classmethod
    def of(cls, address: str, token: str | None, *, anew: bool = False) -> Membership:
        """What to come with; `anew` forgets what is kept. Raises `InvalidAddress`, `CredentialsError`."""
        place = read_place(Address.from_command_line(address))
        if anew:
            forget(place)
        return cls(place, place if token is not None else with_kept(place), token)

    @property
    def is_kept(self) -> bool:
        """Whether the token that is shown is one that was kept."""
        return self.token is None and self.known.token not in (None, self.place.token)

    @asynccontextmanager
    async def joined(
        self,
        name: str | None,
        *,
        services: tuple[str, ...],
        insecure_token: bool,
        on_state: Callable[[State], object] | None = None,
        typed: bool = True,
    ) -> AsyncIterator[Client]:
        """Be a client while the block runs; `typed` is whether somebody chose the name.

        Raises what `connect` raises, and `Failure` where a token that was kept is refused.
        """
        connecting = connect(
            self.known.address,
            name=name,
            token=self.token or self.known.token,
            services=services,
            on_state=on_state,
            insecure_token=insecure_token,
        )
        try:
            client = await connecting
        except HubRefused as problem:
            if self.is_kept and problem.code in GOOD_NO_MORE:
                raise self._refused(problem) from problem
            raise
        async with client:
            token = client.welcome.get("token")
            if isinstance(token, str):
                keep(self.place, token)
            if typed and name is not None and client.name != name:
                which = f"kept in {credentials_file()} " if self.is_kept else ""
                decides = f"the token {which}decides the name: {client.name}, and not {name}"
                say(one_line(decides, f"'{self._anew}' comes without it" if self.is_kept else ""))
            yield client

    @property
    def _anew(self) -> str:
        return f"jackfield join {shlex.quote(safe_text(str(self.place.address)))} --forget"

    def _refused(self, problem: HubRefused) -> Failure:
        return Failure(
            f"{problem.message}: it is the one kept in {credentials_file()}",
            f"come with a new invitation, or drop it with '{self._anew}'",
        )
