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
CHOSEN = [range(batch, SEEDS, BATCHES) for batch in range(BATCHES)] if ONE is None else [[int(ONE, 0)]]

pytestmark = pytest.mark.timeout(60 + SEEDS // BATCHES // 10)


@pytest.mark.parametrize("seeds", CHOSEN, ids=lambda seeds: f"{len(seeds)}-seeds-from-{seeds[0]}")
def test_nothing_is_lost_or_reordered(seeds: range | list[int]) -> None:
    total = Tally()
    for seed in seeds:
        tally, _ = converse(seed)
        total.add(tally)
    assert total.seeds == len(seeds)
    if total.seeds < 100:
        return
    # The conversations are what they say: busy, disturbed, and some of them cut short.
    assert total.sent > 20 * total.seeds
    assert total.cancelled > total.seeds
    assert total.timed_out > total.seeds // 10
    assert 0 < total.cut_short < total.seeds // 2
