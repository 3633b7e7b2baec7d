"""Figures as Prometheus reads them: the text exposition format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/. Pure: values in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(slots=True)
class Metric:
    """One family: its name, `counter` or `gauge`, what it means, and a value for each set of labels."""

    name: str
    kind: str
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> Metric:
        """A value."""
        self.samples.append((labels, value))
        return self


def text(metrics: Iterable[Metric]) -> str:
    """All of them as text. Raises ValueError for a name that the format does not have."""
    lines = []
    for metric in metrics:
        if _NAME.fullmatch(metric.name) is None:
            raise ValueError(f"{metric.name!r} is no name of a metric")
        lines.append(f"# HELP {metric.name} {_escaped(metric.help, quote=False)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += [f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    for name in labels:
        if _LABEL.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name of a label")
    return "{" + ",".join(f'{name}="{_escaped(value, quote=True)}"' for name, value in labels.items()) + "}"


def _escaped(value: str, *, quote: bool) -> str:
    value = value.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace('"', '\\"') if quote else value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
