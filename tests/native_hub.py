"""A hub for native clients, within the test's own loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from jackfield import hub
from jackfield.hub import Hub


@contextlib.asynccontextmanager
async def running_hub(directory: Path, *addresses: str, state: Path | None = None) -> AsyncIterator[Hub]:
    """A hub on these addresses; operators reach it in ``directory``."""
    async with hub.serve(*addresses, control=directory / "hub.sock", state=state) as found:
        yield found
