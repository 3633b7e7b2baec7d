"""Verdicts of `check`: causes, exit codes and evidence, whatever was checked. Nothing is opened."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
import test_check_connect
import test_check_conversation
import test_check_local
import test_check_unix
from observed import LISTENER, SILENCE, STOPPED, WHERE, connected, local, refused, remote, seen, silent

import jackfield
from jackfield.diagnosis.causes import CAUSES, FROM_LIBRARY, NAME_CAUSES
from jackfield.diagnosis.judge import interrupted, judge, show_seconds
from jackfield.diagnosis.observations import Certificate, Process, Resolution, Tls

TABLES = (test_check_connect, test_check_conversation, test_check_local, test_check_unix)


def test_every_cause_that_can_be_observed_has_a_row() -> None:
    shown = {row[2].partition(",")[0] for table in TABLES for row in table.ROWS}
    by_errno = {"interface-down", "unreachable", "no-local-port", "too-many-files"}
    assert {cause.name for cause in CAUSES} - shown == by_errno | {"interrupted"}


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNRESET, "reset-after-connect"),
        (errno.ENETDOWN, "interface-down"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EADDRNOTAVAIL, "no-local-port"),
        (errno.EMFILE, "too-many-files"),
        (errno.EPERM, "own-firewall"),
        (errno.EACCES, "permission"),
    ],
)
def test_an_error_number_alone_has_a_cause(number: int, cause: str) -> None:
    assert judge(remote(errno=number)).cause == cause


def test_exit_codes_are_distinct_and_stable() -> None:
    codes = {cause.name: cause.exit_code for cause in CAUSES}
    assert len(set(codes.values())) == len(codes)
    assert codes["ok"] == 0
    # 2 to 9 belong to the command line.
    assert not set(codes.values()) & set(range(2, 10))
    assert (codes["refused"], codes["silence"], codes["process-stopped"]) == (30, 24, 33)


def test_the_librarys_causes_are_causes() -> None:
    listening = {"address_held", "address_lingers", "file_in_the_way"}
    serial = {"no_such_device"}  # check looks at sockets alone
    causes = [cause.value for cause in jackfield.Cause]
    # Check makes a handshake of its own.
    tls = set(causes[causes.index("certificate_expired") : causes.index("keys_used_up") + 1])
    assert set(causes) - listening - serial - tls == set(FROM_LIBRARY)
    names = {cause.name for cause in CAUSES}
    assert set(FROM_LIBRARY.values()) <= names
    assert set(NAME_CAUSES) <= names


def test_what_came_before_is_evidence() -> None:
    resolution = Resolution("db.example", 0.1, ("192.0.2.7",), "/etc/hosts")
    verdict = judge(seen("db.example:7000", resolution=resolution, attempts=(refused(WHERE),)))
    assert verdict.evidence[0] == "db.example is 192.0.2.7, by /etc/hosts"
    assert verdict.evidence[1].startswith(f"{WHERE}: ")


def test_an_address_that_failed_is_told_though_another_is_well() -> None:
    verdict = judge(seen(attempts=(silent("[2001:db8::7]:7000"), connected(WHERE)), answer=SILENCE))
    assert verdict.ok
    assert verdict.sentence.endswith("; but [2001:db8::7]:7000: no answer")
    assert "[2001:db8::7]:7000" in verdict.evidence[0]


def test_retransmits_are_evidence() -> None:
    verdict = judge(seen(attempts=(replace(connected(WHERE), retransmits=2),)))
    assert "sent 3 times" in verdict.evidence[0]


def test_a_certificate_that_ends_soon_is_told() -> None:
    certificate = Certificate("x.example", "Ada", (), 0.0, 1000.0 + 3 * 86400)
    tls = Tls(0.1, "TLSv1.3", "AES", verified=True, certificate=certificate)
    verdict = judge(seen(f"tls://{WHERE}", attempts=(connected(WHERE),), tls=tls, now=1000.0))
    assert verdict.ok
    assert "the certificate ends in 3 days" in verdict.evidence


def test_an_interrupted_check_tells_what_it_saw() -> None:
    verdict = interrupted(seen(attempts=(refused(WHERE),)))
    assert (verdict.cause, verdict.exit_code) == ("interrupted", 130)
    assert len(verdict.evidence) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 ms"), (0.000214, "0.21 ms"), (0.0181, "18.1 ms"), (0.15, "150 ms"), (0.9996, "1.0 s")],
)  # fmt: skip
def test_times_have_a_fitting_unit(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("process", "remedy"),
    [
        (STOPPED, "kill -CONT 41"),
        (replace(STOPPED, state="t"), "Tracer"),
        (replace(STOPPED, state="S", frozen=True), "docker unpause"),
    ],
)
def test_each_way_to_be_stopped_has_its_remedy(process: Process, remedy: str) -> None:
    stopped = replace(LISTENER, holders=(process,))
    verdict = judge(local(stopped, view={"accepted": False}, attempts=(connected(),)))
    assert verdict.cause == "process-stopped"
    assert remedy in verdict.next_step
    assert "server (pid 41, user ada)" in verdict.sentence
