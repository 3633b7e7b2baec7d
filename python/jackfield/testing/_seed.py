"""Where a seed comes from: the caller, the environment, or chance."""

from __future__ import annotations

import os
import random

VARIABLE = "JACKFIELD_SEED"


def chosen_seed(seed: int | None = None) -> int:
    """``seed``; or the one in the environment variable ``JACKFIELD_SEED``; or one drawn by chance.

    Raises ``ValueError`` if the variable is no whole number.
    """
    if seed is not None:
        return seed
    text = os.environ.get(VARIABLE)
    if text is None:
        return random.SystemRandom().randrange(2**32)
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(
            f"{VARIABLE}={text!r} is not a whole number, such as the one that a failure printed"
        ) from None


def how_to_replay(seed: int) -> str:
    """One sentence for a failure."""
    return f"seed {seed}; the same again: {VARIABLE}={seed}, or seed={seed}"
