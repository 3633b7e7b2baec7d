"""What TLS adds to a listener of either twin: certificates are read anew, failed handshakes told.

It knows who accepts in the listener's place, a pool of threads, since that has handshakes of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield import _engine
from jackfield._address import Address
from jackfield._errors import JackfieldError, NotSupported
from jackfield._tls_errors import newcomer_failed
from jackfield._tls_terms import tls_terms
from jackfield._transports import Setup

if TYPE_CHECKING:
    from jackfield._listen import ListenerStatistics


class TlsListening:
    """The part of a listener that is about TLS."""

    _setup: Setup
    _address: Address
    _pool: TlsListening | None = None
    """Who accepts in its place while a pool of threads serves it."""
    _refused_by_pools = 0
    """Newcomers that pools refused which serve it no more."""
    _in_processes = False
    """Whether processes serve it."""

    def reload_certificates(self) -> None:
        """Read the files of ``cert=``, ``key=`` and ``ca=`` anew: later connections get what is in them.

        Connections that are there go on with what they have. Raises ``InvalidOption`` if a file cannot be
        used, and then the listener goes on with what it had; ``NotSupported`` without TLS, and while
        ``Processes`` serve it, which have read the files when they started.
        """
        terms = tls_terms(self._setup.address, self._setup.options, listening=True)
        if terms is not None and self._in_processes:
            raise NotSupported(
                f"the processes that serve {self._address} have read its certificates when they started",
                hint="end serve() and call it again",
                address=self._address,
            )
        if terms is None or not self._replace_terms(terms):
            raise NotSupported(f"{self._address} has no certificates", hint="use tls:", address=self._address)
        if self._pool is not None:
            self._pool._replace_terms(terms)

    def failed_handshakes(self) -> list[JackfieldError]:
        """Why TLS handshakes of newcomers failed, since this was asked last: the oldest first, 64 at most.

        Those that came to ``Processes`` are not among them.
        """
        errors = self._pool.failed_handshakes() if self._pool is not None else []
        while (failed := self._take_failed()) is not None:
            peer, facts = failed
            error = newcomer_failed(peer.endpoint, facts)
            error.peer, error.local = peer, self._address
            errors.append(error)
        return errors

    def statistics(self) -> ListenerStatistics:
        """See the listeners."""
        raise NotImplementedError

    def _replace_terms(self, terms: _engine.TlsTerms, /) -> bool:
        raise NotImplementedError

    def _take_failed(self) -> tuple[Any, dict[str, Any]] | None:
        raise NotImplementedError
