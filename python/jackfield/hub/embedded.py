"""A hub within a program: the same as `jackfield serve`, with the program's own hooks.

Owns the order in which such a hub starts and ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from jackfield import Address

from .assembly import parts_of
from .hooked import Hooked
from .hooks import HookClient, Hooks
from .operators import Operators
from .part import Part
from .plan import Limits, PlanError, plan_listeners
from .security.certificate import Files, prepare, with_certificate
from .server import Hub, Settings


@asynccontextmanager
async def serve(
    *addresses: Address | str,
    on_message: Callable[[HookClient, bytes], bytes | str | None] | None = None,
    on_join: Callable[[HookClient], None] | None = None,
    on_leave: Callable[[HookClient, str], None] | None = None,
    framing: str = "none",
    eol: str = "lf",
    limits: Limits | None = None,
    state: Path | str | None = None,
    control: Path | str | None = None,
    parts: Sequence[Part] = (),
) -> AsyncIterator[Hub]:
    """Serve a hub on these addresses while the block runs; then deliver what is queued, and end everything.

    The hooks are called in this event loop and must not block; what ``on_message`` returns is answered: bytes
    as they are, text with the line ending of the client's listener. A hook that raises is logged
    (``hub.journal``) and harms nobody. ``parts`` see everything that happens (``Part``).

    ``framing`` and ``eol`` are for the addresses that name none. ``state`` is the file of what lasts, None
    for none. ``control`` is a path at which operators reach this hub with ``jackfield --control PATH``; None
    for no operators. A ``tls://`` address without ``cert=`` has the hub's own certificate, which is kept
    beside the state; ``hub.security.pin`` is its fingerprint.

    Raises what ``jackfield.listen`` raises, ``PlanError`` (a ValueError) for addresses that cannot be served,
    OSError when the certificate cannot be kept, ``ControlError`` when another hub has the control path,
    ``StateError`` when the state cannot be had.
    Cancelled, it ends as at the end of the block.
    """
    parsed = [Address.parse(address) if isinstance(address, str) else address for address in addresses]
    plans = plan_listeners(parsed, framing=framing, ending=eol)
    files = None if state is None else Files.beside(Path(os.path.abspath(state)))  # noqa: ASYNC240 - reads nothing
    try:
        plans = with_certificate(plans, files)
    except ValueError as problem:
        raise PlanError(str(problem)) from None
    settings = Settings(
        [plan for plan in plans if not plan.control],
        Path(os.path.abspath(control or "hub.sock")),  # noqa: ASYNC240 - opens nothing
        limits or Limits(),
        state=None if state is None else Path(state),
        operators=[plan for plan in plans if plan.control],
        pin=await asyncio.to_thread(prepare, plans, files),
    )
    hub = Hub(settings, parts=[*parts_of(settings), Hooked(Hooks(on_message, on_join, on_leave)), *parts])
    operators = Operators(hub) if control is not None else None
    if operators is not None:
        await operators.claim()
    try:
        await hub.open()
        running = asyncio.create_task(hub.run())
        try:
            if operators is not None:
                await operators.open()
            yield hub
        finally:
            hub.stop("the program ends it")
            await asyncio.gather(running, return_exceptions=True)
            await hub.close()
    finally:
        if operators is not None:
            await operators.close()
