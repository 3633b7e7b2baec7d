"""`jackfield record`: what clients say and are told, from the hub into a file, until told otherwise.

The hub makes the records and hands them over in chunks, each of which is acknowledged when it is in the
file. So a slow disk makes the hub count what is missing, and neither the hub nor this command fill up.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import Any

from ..hub.display import bytes_text, safe_text
from ..hub.operator import NoHub, Operator
from ..hub.protocol import decode_data
from ..hub.text import TextError, parse_duration, parse_size
from .failures import Failure, say
from .loop import Interrupted
from .operate import print_json, with_hub
from .progress import Progress
from .recording_file import RecordingFile, format_of
from .views import counted

ONCE = 0.5  # seconds within which a second Ctrl-C is the first one again: a shell and `timeout` both send it


def record(
    target: str,
    *,
    output: str | None,
    form: str | None,
    duration: str | None,
    size: str | None,
    force: bool,
    as_json: bool,
    control: str | None,
) -> None:
    for_seconds = None if duration is None else parse_duration(duration)
    limit = None if size is None else parse_size(size)
    if limit is not None and limit < 4096:
        raise TextError(f"--size {size}: at least 4K is needed")
    path = output or time.strftime(f"jackfield-%Y%m%d-%H%M%S.{form or 'jfrec'}")
    chosen = format_of(path, form)

    async def work(operator: Operator) -> dict[str, Any]:
        return await Recording(operator, path, chosen, force=force, limit=limit).run(target, for_seconds)

    report = with_hub(control, work)
    if as_json:
        print_json(report)
    elif path != "-":
        say(f"jackfield: recorded {_summary(report)} in {report['seconds']:.1f} s to {safe_text(path)}")
    if report["lost"]:
        raise Failure(
            f"{counted(report['lost'], 'record')} missing: writing was too slow, or the disk was full",
            "'jackfield recording show' tells where",
        )
    if not report["complete"]:
        raise Failure(f"the recording ended early: {report['reason']}", "what was recorded is in the file")


def _summary(report: dict[str, Any]) -> str:
    size = bytes_text(report["bytes"])
    return f"{counted(report['records'], 'record')} ({size}) of {counted(report['clients'])}"


class Recording:
    """One recording of an operator under way."""

    def __init__(self, operator: Operator, path: str, form: str, *, force: bool, limit: int | None) -> None:
        self._operator = operator
        self._progress = Progress()
        self._file = RecordingFile.create(path, form=form, replace=force, limit=limit)
        self._stopping = asyncio.Event()
        self._ended = False  # the record that closes the file is in it
        self._since = time.monotonic()
        self._became: dict[str, Any] = {"records": 0, "bytes": 0, "lost": 0, "clients": 0}

    async def run(self, target: str, for_seconds: float | None) -> dict[str, Any]:
        """Record until Ctrl-C, SIGTERM, the time or the size ends it; what became of it.

        The first Ctrl-C ends it in order, a second one at once: raises `Interrupted`.
        """
        reason: str | None = "the recorder failed"
        complete = True
        try:
            request_id, replies = await self._operator.start("record", target=target)
            self._handle_signals()
            ticking = asyncio.create_task(self._tick())
            ending = asyncio.create_task(self._end(request_id, for_seconds))
            try:
                reason = await self._take(request_id, replies)
            except NoHub as problem:
                reason, complete = str(problem), False
            except asyncio.CancelledError:
                reason = "Ctrl-C"
                raise Interrupted from None
            finally:
                for task in (ticking, ending):
                    task.cancel()
                await asyncio.gather(ticking, ending, return_exceptions=True)
        finally:
            self._progress.clear()
            self._file.close(None if self._ended else reason)
        return {
            **{name: self._became[name] for name in ("bytes", "clients")},
            "records": self._file.records,
            "lost": self._became["lost"] + self._file.missing,
            "seconds": round(time.monotonic() - self._since, 3),
            "size": self._file.size,
            "file": self._file.name,
            "reason": self._became.get("left") or reason,
            "complete": complete,
        }

    def _handle_signals(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        first = 0.0

        def stop() -> None:
            nonlocal first
            if not self._stopping.is_set():
                first = loop.time()
                self._stopping.set()
            elif loop.time() - first > ONCE:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)

    async def _take(self, request_id: int, replies: asyncio.Queue[Any]) -> str:
        """Write chunks until the recording ends; why it did."""
        while True:
            reply = await self._operator.reply(replies)
            if "ok" in reply:
                self._became.update(reply["ok"])
                return str(reply["ok"]["left"])
            event = reply["event"]
            self._file.write(decode_data(event["recording"]), records=event["records"], data=event["bytes"])
            self._ended = event["ended"]
            for name in ("records", "bytes"):
                self._became[name] += event[name]
            for name in ("lost", "clients"):
                self._became[name] = event[name]
            self._show()
            if self._file.full:
                return "the limit of --size is reached"
            await self._operator.request("recorded", of=request_id)

    async def _end(self, request_id: int, for_seconds: float | None) -> None:
        """Tell the hub when it is enough."""
        reason = "Ctrl-C"
        try:
            async with asyncio.timeout(for_seconds):
                await self._stopping.wait()
        except TimeoutError:
            reason = "the time of --for is over"
        with contextlib.suppress(NoHub):
            await self._operator.request("record_end", of=request_id, reason=reason)

    async def _tick(self) -> None:
        while True:
            self._show(at_once=True)
            await asyncio.sleep(0.5)

    def _show(self, *, at_once: bool = False) -> None:
        seconds = int(time.monotonic() - self._since)
        lost = self._became["lost"] + self._file.missing
        missing = f", {lost} LOST" if lost else ""
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        self._progress.show(f"{clock} {_summary(self._became)}{missing}; Ctrl-C ends it", at_once=at_once)
