"""Address in use: by another program, by nobody any more, and by what TCP remembers."""

from __future__ import annotations

import errno

from ..examples.address_in_use import (
    another_program,
    bind_without_reuse,
    dead_server,
    served_once,
    try_to_listen,
)
from ..lesson import Show, claim


async def lesson(show: Show) -> None:
    async with another_program() as (pid, address):
        error = await try_to_listen(address)
        claim(error is not None and pid in [holder.pid for holder in error.holders], pid, error)
        await show("taken", f"{type(error).__name__}: {error}", pid=pid, port=address.port)
    error = await try_to_listen(address)
    claim(error is None, error)
    await show("free", f"{address}", port=address.port)

    address = await served_once()
    refused = bind_without_reuse(address)
    claim(refused is not None and refused.errno == errno.EADDRINUSE, refused)
    error = await try_to_listen(address)
    claim(error is None, error)
    await show("time-wait", f"bind(2): {refused}", f"jackfield.listen: {address}", port=address.port)

    with dead_server() as address:
        error = await try_to_listen(address)
        claim(error is None, error)
    await show("stale", "jackfield.listen: unix://.../server.sock")
