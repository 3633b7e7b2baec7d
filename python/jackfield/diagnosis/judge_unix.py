"""What is the matter with a Unix socket: the file, its kind, who holds it, whether it accepts. Pure."""

from __future__ import annotations

import errno

from .judge_local import TABLE, listed, not_accepted, queue_full, shown, stopped_reader
from .observations import Attempt, Listener, LocalView, Observations, UnixFile
from .verdict import Verdict

_FILES = "the file system says so"


def judge_unix(seen: Observations) -> Verdict | None:
    """``None`` when nothing is wrong so far."""
    local = seen.local or LocalView()
    attempt = seen.attempts[0]
    if attempt.connected:
        if seen.target.is_datagram:
            return stopped_reader(seen, local)
        return not_accepted(seen, local, seen.target.address.endpoint)
    path = seen.target.address.path or ""
    if attempt.timed_out or attempt.errno == errno.EAGAIN:
        return queue_full(local.matching, shown(path)) or Verdict(
            "accept-queue-full",
            f"the accept queue of {shown(path)} is full: something listens, and does not accept",
            "likely",
            "the kernel lets nobody in, and does not show the queue",
            "see whether the server hangs",
            listed(local.matching),
        )
    if seen.file is None:
        return _abstract(seen, local, path)
    return _file(seen.file) or _socket(seen, local, seen.file, attempt)


def _abstract(seen: Observations, local: LocalView, path: str) -> Verdict:
    if local.listeners:
        return _other(seen, local.listeners, path)
    sentence = f"no process has a socket of the abstract name {shown(path)}"
    step = "start the server, or see `ss -xl`; abstract names belong to one network name space"
    return Verdict("no-socket", sentence, "certain", TABLE, step)


def _file(file: UnixFile) -> Verdict | None:
    """The verdict when there is no socket to connect to."""
    path = shown(file.path)
    if file.state == "no-directory":
        sentence = f"the directory of {path} does not exist"
        return Verdict("no-socket", sentence, "certain", _FILES, "check the path")
    if file.state == "absent":
        sentence = f"there is no socket file {path}"
        return Verdict("no-socket", sentence, "certain", _FILES, "start the server, or check the path")
    if file.state == "other":
        sentence = f"the file {path} is no socket"
        evidence = (f"its mode is {file.mode}, its owner {file.owner}",)
        return Verdict("not-a-socket", sentence, "certain", _FILES, f"look at `ls -l {path}`", evidence)
    if file.state == "hidden":
        sentence = f"a directory above {path} may not be entered"
        return Verdict("permission", sentence, "certain", _FILES, f"look at `namei -l {path}`")
    return None


def _socket(seen: Observations, local: LocalView, file: UnixFile, attempt: Attempt) -> Verdict:
    path, wanted = shown(file.path), seen.target.address.scheme
    mode = (f"its mode is {file.mode}, its owner {file.owner}",)
    if attempt.errno in (errno.EACCES, errno.EPERM):
        sentence = f"connecting to {path} needs write permission on it"
        step = "ask its owner, or use chmod or a common group"
        return Verdict("permission", sentence, "certain", "the kernel said so", step, mode)
    if local.listeners:
        return _other(seen, local.listeners, file.path)
    if attempt.errno == errno.EPROTOTYPE:
        sentence = f"the socket {path} is not {wanted}"
        step = "use one of unix://, unix+dgram:// and unix+seqpacket:// as the server does"
        return Verdict("wrong-kind", sentence, "certain", "the kernel said so", step, mode)
    if attempt.errno == errno.ECONNREFUSED:
        sentence = f"the socket file {path} is stale: its server has ended without removing it"
        because = "the file is there, no process holds it, and the kernel refused"
        step = f"start the server again; one that cannot start over the old file needs `rm {path}` first"
        return Verdict("stale-socket", sentence, "certain", because, step, mode)
    said = attempt.said or "the connect failed"
    return Verdict("failed", f"{path}: {said}", "certain", "that is what the system said", "", mode)


def _other(seen: Observations, listeners: tuple[Listener, ...], path: str) -> Verdict:
    """Somebody holds the name, and connecting failed."""
    wanted = seen.target.address.scheme
    evidence = listed(listeners)
    if any(listener.kind == wanted for listener in listeners):
        sentence = f"{listeners[0].holder} holds {shown(path)} and refused the connection"
        because = "a server that starts or ends just now looks so"
        return Verdict("refused", sentence, "possible", because, "try again", evidence)
    kind = listeners[0].kind
    sentence = f"the socket {shown(path)} is {kind}, not {wanted}"
    return Verdict("wrong-kind", sentence, "certain", TABLE, f"check {kind}://{shown(path)}", evidence)
