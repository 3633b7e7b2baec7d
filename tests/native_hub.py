"""A hub with its control socket, within the test's own loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jackfield import hub
from jackfield.hub import Hub


@contextlib.asynccontextmanager
async def running_hub(directory: Path, *addresses: str, **more: Any) -> AsyncIterator[Hub]:
    """A hub on these addresses; operators reach it in ``directory``. ``more`` is what ``hub.serve`` takes."""
    async with hub.serve(*addresses, control=directory / "hub.sock", **more) as found:
        yield found
