"""Ten thousand seeds: nothing is lost, reordered or doubled, whatever the link does and whoever cancels.

``JACKFIELD_SEEDS=100000`` runs more, ``JACKFIELD_SEED=1234`` the one that a failure named.
"""

from __future__ import annotations

import os

import pytest
from exchange import Tally, converse

SEEDS = int(os.environ.get("JACKFIELD_SEEDS", "10000"))
BATCHES = 10
ONE = os.environ.get("JACKFIELD_SEED")

pytestmark = pytest.mark.timeout(60 + SEEDS // BATCHES // 10)


@pytest.mark.skipif(ONE is not None, reason="JACKFIELD_SEED names one seed")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_is_lost_or_reordered(batch: int) -> None:
    total = Tally()
    for seed in range(batch, SEEDS, BATCHES):
        tally, _ = converse(seed)
        total.add(tally)
    assert total.seeds == len(range(batch, SEEDS, BATCHES))
    # The conversations are what they say: busy, disturbed, and some of them cut short.
    assert total.sent > 20 * total.seeds
    assert total.cancelled > total.seeds
    assert total.timed_out > total.seeds // 10
    assert 0 < total.cut_short < total.seeds // 2


@pytest.mark.skipif(ONE is None, reason="for JACKFIELD_SEED=..., which a failure prints")
def test_the_seed_that_failed() -> None:
    first, _ = converse()
    again, _ = converse()
    assert first == again
