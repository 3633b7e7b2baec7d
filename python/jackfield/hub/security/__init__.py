"""Who may come to the hub, what they may do there, and what is written down of it."""

from __future__ import annotations

from .access import Access
from .gate import Admitted, Certificate, Gate, Refused
from .roles import may
from .tokens import Token, Tokens

__all__ = ["Access", "Admitted", "Certificate", "Gate", "Refused", "Token", "Tokens", "may"]
