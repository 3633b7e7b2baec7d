"""Scripts: files of hooks that the hub calls, each in a thread of its own, and loads anew when they change.

Owns the threads and what waits for them. A script that blocks, computes or loops for ever holds up neither
the hub nor another script: what it does not get to is bounded, and then dropped and counted. A file that
cannot be loaded any more leaves the hooks that were there in use. Scripts run with the rights of the hub.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .client import Client
from .hooked import Answers, where
from .hooks import HookClient, Hooks
from .part import Part
from .roster import peer_text

if TYPE_CHECKING:
    from .server import Hub

MOST: Final = 32  # scripts
WAITING: Final = 10_000  # calls that may wait for one script
WAITING_BYTES: Final = 16 * 1024 * 1024  # of the messages in them
LOOKED_AT_EVERY: Final = 0.25  # seconds between two looks at a file
PATIENCE: Final = 10.0  # seconds that a script waits for the hub
TURN: Final = 0.0005  # seconds that a script which computes keeps the interpreter for itself


class ScriptError(Exception):
    """A script cannot be loaded; the message says why, and where in the file."""


@dataclass(slots=True)
class Counts:
    """What became of one script."""

    calls: int = 0
    failed: int = 0
    dropped: int = 0  # calls that it did not get to
    loads: int = 0


def load(path: Path, log: Callable[[str], None]) -> Hooks:
    """Run the file and take its hooks; what it prints goes to `log`. Raises `ScriptError`."""
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path), "print": _printing(log)}
    try:
        source = path.read_bytes()
        exec(compile(source, str(path), "exec"), namespace)
        return Hooks.of(namespace)
    except OSError as problem:
        raise ScriptError(f"{path}: {problem.strerror}") from problem
    except ValueError as problem:
        raise ScriptError(f"{path}: {problem}") from problem
    except SystemExit as problem:
        raise ScriptError(f"{path}: it ended itself ({problem.code})") from problem
    except BaseException as problem:  # a KeyboardInterrupt of a script's own must end neither thread nor hub
        raise ScriptError(f"{path}: {where(problem)}") from problem


def _printing(log: Callable[[str], None]) -> Callable[..., None]:
    def to_log(*values: object, sep: str | None = None, **_: object) -> None:
        log((" " if sep is None else sep).join(map(str, values)))

    return to_log


class Script:
    """One file of hooks and its thread. Made and called in the hub's loop."""

    def __init__(self, path: Path, hub: Hub) -> None:
        self.path = path
        self.hooks = Hooks()
        self.counts = Counts()
        self.problem = ""  # why the file as it is now is not in use
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._loops_thread = threading.get_ident()
        self._answers = Answers(hub, f"script:{path.name}")
        self._waiting: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(WAITING)
        self._bytes_in = 0  # of messages put into the queue, counted by the loop
        self._bytes_out = 0  # of those taken out, counted by the thread
        self._ending = threading.Event()
        self._seen: tuple[int, ...] = ()
        self._looked = 0.0
        self._thread = threading.Thread(target=self._work, name=f"jackfield-{path.name}", daemon=True)

    async def begin(self) -> None:
        """Load the file, and call its hooks from now on. Raises `ScriptError`."""
        self._seen, self._looked = _identity(self.path), time.monotonic()
        self.hooks = await self._load_first()
        self.counts.loads = 1
        sys.setswitchinterval(TURN)
        self._thread.start()

    async def _load_first(self) -> Hooks:
        """The file's hooks, of a daemon thread: a file that never ends must not hold up the hub's end."""
        loaded: asyncio.Future[Hooks] = self._loop.create_future()

        def settle(hooks: Hooks | None, problem: ScriptError | None) -> None:
            if loaded.done():
                return  # nobody waits any more
            if hooks is not None:
                loaded.set_result(hooks)
            elif problem is not None:
                loaded.set_exception(problem)

        def run() -> None:
            try:
                hooks = load(self.path, self._log_printed)
            except ScriptError as problem:
                self._post(settle, None, problem)
            else:
                self._post(settle, hooks, None)

        threading.Thread(target=run, name=f"jackfield-load-{self.path.name}", daemon=True).start()
        return await loaded

    # ---------------------------------------------------------------- in the hub's loop

    def call(self, hook: str, client: Client, *facts: Any) -> None:
        """Have a hook called soon, if the script has it."""
        if getattr(self.hooks, hook) is None:
            return
        size = len(facts[-1]) if hook == "on_message" else 0
        if self._bytes_in - self._bytes_out + size > WAITING_BYTES:
            self._drop()
            return
        handed = HookClient(client.id, client.name, client.member.protocol, peer_text(client.member), self)
        try:
            self._waiting.put_nowait((hook, (handed, *facts)))
        except queue.Full:
            self._drop()
        else:
            self._bytes_in += size

    def _drop(self) -> None:
        self.counts.dropped += 1
        self._answers.log("script_slow", script=str(self.path), dropped=self.counts.dropped)

    def forget(self, client_id: int) -> None:
        self._answers.forget(client_id)

    async def end(self) -> None:
        """Call nothing any more. What a script is in the middle of is left to itself."""
        self._ending.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, LOOKED_AT_EVERY * 2)

    # ---------------------------------------------------------------- in the script's thread

    def _work(self) -> None:
        while not self._ending.is_set():
            self._look()
            try:
                hook, (client, *facts) = self._waiting.get(timeout=LOOKED_AT_EVERY)
            except queue.Empty:
                continue
            if hook == "on_message":
                self._bytes_out += len(facts[0])
            function = getattr(self.hooks, hook)
            if function is None:  # not any more
                continue
            self.counts.calls += 1
            try:
                answer = function(client, *facts)
                if hook == "on_message" and answer is not None:
                    self._in_loop(self._answers.answer, self._hub.clock(), client.id, facts[0], answer)
            except BaseException as problem:
                self.counts.failed += 1
                self._post(self._answers.failed, problem, hook=hook)

    def _look(self) -> None:
        """Load the file anew when it is another one."""
        now = time.monotonic()
        if now - self._looked < LOOKED_AT_EVERY:
            return
        self._looked = now
        identity = _identity(self.path)
        if identity == self._seen:
            return
        self._seen = identity
        try:
            self.hooks = load(self.path, self._log_printed)
        except ScriptError as problem:
            self.problem = str(problem)
            self._post(self._hub.log, "script_not_loaded", reason=str(problem), still="the hooks from before")
        else:
            self.problem = ""
            self.counts.loads += 1
            self._post(
                self._hub.log, "script_loaded", script=str(self.path), hooks=",".join(self.hooks.names)
            )

    def send(self, client_id: int, data: bytes | str) -> bool:
        """See `HookClient.send`; from the script's thread."""
        return bool(self._in_loop(self._answers.send, client_id, data))

    def kick(self, client_id: int, *, reset: bool) -> None:
        """See `HookClient.kick`; from the script's thread."""
        self._in_loop(self._answers.kick, client_id, reset=reset)

    def _log_printed(self, text: str) -> None:
        self._post(self._hub.log, "script_says", script=self.path.name, text=text[:1000])

    def _in_loop(self, function: Callable[..., Any], *facts: Any, **more: Any) -> Any:
        """What a function gives that is called in the hub's loop."""
        if threading.get_ident() == self._loops_thread:
            return function(*facts, **more)
        result: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def call() -> None:
            try:
                result.set_result(function(*facts, **more))
            except Exception as problem:
                result.set_exception(problem)

        self._loop.call_soon_threadsafe(call)
        return result.result(PATIENCE)

    def _post(self, function: Callable[..., Any], *facts: Any, **more: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: function(*facts, **more))
        except RuntimeError:
            self._ending.set()  # the loop has ended


class Scripts(Part):
    """The scripts of one hub. `paths` are those it starts with."""

    def __init__(self, paths: list[Path]) -> None:
        self._first = paths
        self._scripts: dict[Path, Script] = {}

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        for path in self._first:
            await self.add(path)

    async def close(self) -> None:
        scripts, self._scripts = self._scripts, {}
        await asyncio.gather(*(script.end() for script in scripts.values()))

    def hand_over(self) -> list[str]:
        return [str(path) for path in self._scripts]

    async def resume(self, now: float, clients: Sequence[Client], handed: Any) -> None:
        """Who stays does not join: scripts hear of those clients when they speak."""
        for path in map(Path, handed or ()):
            if path not in self._scripts:
                try:
                    await self.add(path)
                except ScriptError as problem:
                    self._hub.log("script_failed", script=str(path), error=str(problem))

    async def add(self, path: Path) -> Script:
        """Load the script at an absolute path. Raises `ScriptError`, also for one that is there."""
        if path in self._scripts:
            raise ScriptError(f"{path} is loaded already; it is loaded anew whenever it changes")
        if len(self._scripts) >= MOST:
            raise ScriptError(f"there are {MOST} scripts already; remove one first")
        script = self._scripts[path] = Script(path, self._hub)
        try:
            await script.begin()
        except BaseException:
            self._scripts.pop(path, None)
            raise
        self._hub.log("script_loaded", script=str(path), hooks=",".join(script.hooks.names))
        return script

    async def remove(self, name: str) -> Path:
        """End the script of that path or file name; its path. Raises KeyError, ValueError for several."""
        found = [path for path in self._scripts if name in (str(path), path.name) or Path(name) == path]
        if len(found) > 1:
            raise ValueError(f"{name!r} means {', '.join(map(str, found))}; give the whole path")
        if not found:
            raise KeyError(name)
        await self._scripts.pop(found[0]).end()
        return found[0]

    def __iter__(self) -> Iterator[Script]:
        return iter(self._scripts.values())

    def came(self, now: float, client: Client) -> None:
        for script in self._scripts.values():
            script.call("on_join", client)

    def heard(self, now: float, client: Client, data: bytes) -> None:
        for script in self._scripts.values():
            script.call("on_message", client, data)

    def went(self, now: float, client: Client, reason: str) -> None:
        for script in self._scripts.values():
            script.forget(client.id)
            script.call("on_leave", client, reason)


def _identity(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty while there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
