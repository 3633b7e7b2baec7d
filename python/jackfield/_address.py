"""Address: one frozen value that names any endpoint, in code, on the command line and in a file.

The grammar lives in ``_address_grammar`` (reading) and ``_address_form`` (printing), what people type on a
command line in ``_address_words``; tests/vectors/addresses.json settles every doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jackfield._address_form import Fields, Pairs, endpoint, format_fields
from jackfield._address_grammar import parse_fields
from jackfield._address_words import rewrite
from jackfield._error_classes import InvalidAddress


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where an endpoint is: ``scheme://body?option=value&...``.

    ``str(address)`` is the canonical text; parsing it gives an equal address. The constructor checks its
    fields as ``parse`` does and raises ``InvalidAddress`` too.
    """

    scheme: str
    """``tcp``, ``udp``, ``unix`` ..., in lower case."""
    host: str | None = None
    """Host name (ASCII, lower case) or number; IPv6 without brackets and with its zone (``fe80::1%eth0``);
    the cid of ``vsock``; the interface of ``packet``; ``None`` is any address of this machine."""
    port: int | None = None
    """0 to 65535 (``vsock``: 2**32 - 1); 0 lets the kernel pick one; ``None`` without ports."""
    path: str | None = None
    """``/path`` or abstract ``@name``; for ``fd`` the number; for ``ws`` path and own query, percent-encoded.
    Bytes that are no UTF-8 are surrogate escapes, as in ``os.fsdecode``."""
    options: Pairs = ()
    """Names and values in the order written; a name without a value has the value ``""``."""

    def __post_init__(self) -> None:
        options = tuple((name, value) for name, value in self.options)
        given = Fields(self.scheme, self.host, self.port, self.path, options)
        text = format_fields(given)
        fields = parse_fields(text)
        lost = any(ours is not None and read is None for ours, read in zip(given, fields, strict=True))
        if lost or fields.options != given.options or fields.scheme != given.scheme:
            raise InvalidAddress(text, 0, "the fields do not form an address", "use Address.parse")
        for name, value in fields._asdict().items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address. Raises ``InvalidAddress`` with the position of the fault."""
        if not isinstance(text, str):
            raise TypeError(f"an address is text such as 'tcp://127.0.0.1:7000', not {type(text).__name__}")
        return cls.unchecked(*parse_fields(text))

    @classmethod
    def from_command_line(cls, *words: str) -> Address:
        """Read what people type: ``7000``, ``:7000``, ``host:7000``, ``host 7000``, ``https://host``,
        ``/path``, ``./path``, ``@name``, or an address; options may follow commas (``tcp://:7000,framing=line``).

        A relative path is taken from the current directory. Raises ``InvalidAddress``; its text is the words
        joined by spaces.
        """
        rewritten = rewrite(words)
        try:
            return cls.parse(rewritten.text)
        except InvalidAddress as error:
            position = rewritten.positions[error.position]
            raise InvalidAddress(rewritten.typed, position, error.message, error.hint) from None

    @classmethod
    def unchecked(
        cls,
        scheme: str,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        options: Pairs = (),
    ) -> Address:
        """An address from canonical fields, such as those that the kernel names, without checking them."""
        self = object.__new__(cls)
        setter = object.__setattr__
        setter(self, "scheme", scheme)
        setter(self, "host", host)
        setter(self, "port", port)
        setter(self, "path", path)
        setter(self, "options", options)
        return self

    def __str__(self) -> str:
        return format_fields(self._fields())

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def _fields(self) -> Fields:
        return Fields(self.scheme, self.host, self.port, self.path, self.options)

    @property
    def endpoint(self) -> str:
        """The address without scheme and options: ``127.0.0.1:7000``, ``[::1]:7000``, ``/path``."""
        return endpoint(self._fields()) or f"{self.scheme}:"

    @property
    def is_abstract(self) -> bool:
        """Whether the name is in the kernel's abstract name space and no file."""
        return self.path is not None and self.path.startswith("@")

    @property
    def is_unnamed(self) -> bool:
        """Whether this is a Unix socket without a name (``unix:``), which nobody can connect to."""
        return self.scheme.startswith("unix") and self.path is None

    def option(self, name: str) -> str | None:
        """The value of an option as written (the last, where several are allowed); ``None`` when absent."""
        values = self.option_values(name)
        return values[-1] if values else None

    def option_values(self, name: str) -> tuple[str, ...]:
        """Every value of an option that may be given several times, such as ``allow`` and ``argv``."""
        return tuple(value for other, value in self.options if other == name)

    def with_options(self, **options: object) -> Address:
        """The same address with options set or, for ``None``, removed.

        Values are text as in an address (``"5s"``, ``"4M"``); booleans become ``yes`` and ``no``; anything
        else is taken as ``str`` gives it. Raises ``InvalidAddress`` when the result is none.
        """
        pairs = [(name, value) for name, value in self.options if name not in options]
        for name, value in options.items():
            if value is None:
                continue
            pairs.append((name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)))
        return replace(self, options=tuple(pairs))

    def without_options(self) -> Address:
        """The same address without any option."""
        return Address.unchecked(self.scheme, self.host, self.port, self.path)

    def with_port(self, port: int) -> Address:
        """The same address with another port. Raises ``InvalidAddress`` when it cannot have that port."""
        return replace(self, port=port)
