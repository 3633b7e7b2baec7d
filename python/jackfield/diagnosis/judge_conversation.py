"""What became of a connection that came about: the TLS handshake, and what the peer said. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from .judge_connect import silent_hop
from .judge_websocket import judge_websocket
from .observations import Answer, Observations, Tls
from .spoken import first_line, wrong_protocol
from .verdict import Verdict

_SOON = 14 * 86400.0
_FIREWALL = "look at `sudo nft list ruleset`"


def judge_conversation(seen: Observations) -> Verdict:
    """The verdict on a target that is connected."""
    where = seen.connected.address if seen.connected is not None else seen.target.address.endpoint
    failed = _tls(seen, seen.tls, where) if seen.tls is not None else None
    if failed is not None:
        return failed
    if seen.target.is_datagram:
        return _datagram(seen, where)
    if seen.upgrade is not None:
        return judge_websocket(seen, seen.upgrade, where, _tls_evidence(seen))
    if seen.answer is None:
        sentence = f"{where} accepts connections"
        return Verdict("ok", sentence, "certain", "the handshake came about", "", _tls_evidence(seen))
    return _stream(seen, seen.answer, where)


# TLS -------------------------------------------------------------------------------------------------


def _tls(seen: Observations, tls: Tls, where: str) -> Verdict | None:
    if tls.ended is not None:
        accepted = f"{where} accepted the connection and"
        sentence = {
            "reset": f"{accepted} reset it in the TLS handshake",
            "closed": f"{accepted} closed it in the TLS handshake",
            "silence": f"{accepted} did not answer the TLS handshake within {tls.seconds:.1f} s",
        }.get(tls.ended, f"the TLS handshake with {where} failed: {tls.problem}")
        host = seen.target.address.host
        step = f"see whether the port speaks TLS: `openssl s_client -connect {where} -servername {host}`"
        return Verdict("tls-failed", sentence, "certain", "the handshake was tried", step)
    if tls.verified:
        return None
    sentence = f"the certificate of {where} is not to be trusted: {tls.problem}"
    place = "wss://...?jf." if seen.target.websocket else "tls://...?"
    step = (
        "let the server have a certificate for this name by an authority that this machine knows, "
        "or name that authority's file in SSL_CERT_FILE; a hub's own certificate is known by its pin, "
        f"`{place}pin=sha256:...`, which `jackfield status` has"
    )
    evidence = _tls_evidence(seen)
    return Verdict("certificate-invalid", sentence, "certain", "the verification failed", step, evidence)


def _tls_evidence(seen: Observations) -> tuple[str, ...]:
    tls = seen.tls
    if tls is None or tls.version is None:
        return ()
    lines = [f"{tls.version} with {tls.cipher}"]
    certificate = tls.certificate
    if certificate is not None:
        left = certificate.not_after - seen.now
        until = datetime.fromtimestamp(certificate.not_after, UTC).date().isoformat()
        subject = certificate.subject or ", ".join(certificate.names[:3]) or "nobody"
        lines.append(f"certificate for {subject} by {certificate.issuer or 'nobody'}, valid until {until}")
        if 0 < left < _SOON:
            lines.append(f"the certificate ends in {left / 86400:.0f} days")
    return tuple(lines)


# Answers ---------------------------------------------------------------------------------------------


def _stream(seen: Observations, answer: Answer, where: str) -> Verdict:
    evidence = _tls_evidence(seen)
    if answer.data:
        return _spoke(seen, answer, where, evidence)
    if answer.alert:
        sentence = f"{where} refused the TLS session after the handshake: {answer.alert}"
        step = "look at the server's log: it may want a certificate of the client"
        return Verdict("tls-failed", sentence, "certain", "the peer sent a TLS alert", step, evidence)
    accepted = f"{where} accepted the connection"
    asked = f", was asked ({answer.asked})," if answer.asked else ""
    if answer.ended == "reset":
        sentence = f"{accepted}{asked} and reset it"
        step = "look at the server's log: it crashed, refuses this client, or speaks another protocol"
        because = "the reset came from the peer"
        return Verdict("reset-after-connect", sentence, "certain", because, step, evidence)
    if answer.ended == "closed":
        sentence = f"{accepted}{asked} and closed it without a word"
        step = "look at the server's log: it refuses this client, is full, or its back end is gone"
        because = "the peer ended the connection in order"
        return Verdict("closed-at-once", sentence, "certain", because, step, evidence)
    if answer.asked:
        sentence = f"{accepted}{asked} and said nothing within {answer.seconds:.1f} s"
        step = "look at the server's log; it may wait for its back end, or speak another protocol"
        because = "it may only be slow: try a longer --wait"
        return Verdict("silent-server", sentence, "likely", because, step, evidence)
    sentence = (
        f"{where} accepts connections, and says nothing by itself within {answer.seconds:.1f} s, "
        "as servers do that let the client speak first"
    )
    return Verdict("ok", sentence, "certain", "the handshake came about", "", evidence)


def _spoke(seen: Observations, answer: Answer, where: str, evidence: tuple[str, ...]) -> Verdict:
    first = first_line(answer.data)
    web = seen.target.http and answer.asked.startswith("HEAD ")
    if web and not answer.data.startswith(b"HTTP/"):
        return wrong_protocol(seen, answer.data, where, evidence)
    status = answer.data.split(None, 2)[1:2] if web else []
    if status and status[0].startswith(b"5"):
        sentence = f"{where} answers, and the server has an error of its own: {first}"
        step = "look at the server's log"
        return Verdict("ok", sentence, "certain", "the connection is in order", step, evidence)
    return Verdict("ok", f"{where} answers: {first}", "certain", "it spoke", "", evidence)


# Datagrams -------------------------------------------------------------------------------------------


def _datagram(seen: Observations, where: str) -> Verdict:
    answer = seen.answer
    if answer is not None and answer.data:
        return Verdict("ok", f"{where} answers: {first_line(answer.data)}", "certain", "it spoke")
    if answer is None:
        if seen.target.is_unix:
            return Verdict("ok", f"{where} takes datagrams", "certain", "the kernel connected to it")
        sentence = f"nothing was sent to {where}, so nothing is known of it"
        step = "leave out --no-first-byte"
        return Verdict("silence", sentence, "possible", "UDP has no handshake", step)
    within = f"within {answer.seconds:.1f} s"
    listeners = seen.local.matching if seen.local is not None else ()
    empty = answer.asked.startswith("an empty")
    if listeners and empty:
        sentence = f"{listeners[0].holder} holds {listeners[0].bound}, and no error came back"
        because = "an empty datagram asks for no answer; --send TEXT may elicit one"
        return Verdict("ok", sentence, "likely", because)
    if listeners:
        sentence = f"{listeners[0].holder} holds {where}, took {answer.asked}, and said nothing {within}"
        because = "many programs do not answer datagrams that they do not know"
        step = "send what it answers, or look at its log"
        return Verdict("silent-server", sentence, "likely", because, step)
    if seen.local is not None and not seen.target.is_unix:
        sentence = (
            f"no socket holds {where}, and the kernel did not say so: a firewall rule here drops the packets"
        )
        because = "without a firewall the kernel answers itself at once"
        return Verdict("own-firewall", sentence, "likely", because, _FIREWALL)
    absent = silent_hop(seen, where, within)
    if absent is not None:
        return absent
    sentence = (
        f"no answer from {where} {within}, which proves nothing: the port is open and the program said "
        "nothing, or the packet or its answer was dropped on the way"
    )
    step = "send what the program answers, with --send TEXT or --send HEX --hex"
    if not empty:
        step = "look on the host itself whether the program got it"
    evidence = (f"sent {answer.asked}; neither an answer nor an ICMP error came back",)
    because = "over UDP an open port and a dropped packet look the same"
    return Verdict("silence", sentence, "possible", because, step, evidence)
