"""What programs that use channels are tested with; docs/testing.md is the guide.

- ``memory_pair``: two channels connected to each other within one event loop.
- ``FaultyLink``, ``faulty_pair``, ``FaultyProxy``: links that split, delay, stall, flip, cut off and reset,
  in real time.
- ``Simulation``: two peers in one thread on a clock that steps, everything drawn from one seed.
- ``conformance``: the checks that every transport of Jackfield passes, for transports of your own.

Needs neither pytest nor anything else beside Jackfield, and is made of Jackfield's public names alone.
"""

from jackfield.testing._faults import Faults
from jackfield.testing._links import (
    FaultyLink,
    faulty_pair,
    memory_pair,
)
from jackfield.testing._proxy import FaultyProxy
from jackfield.testing._seed import chosen_seed
from jackfield.testing._simulation import Simulation
from jackfield.testing._stepped_loop import (
    SimulationStuck,
    SteppedEventLoop,
)

__all__ = [
    "Faults",
    "FaultyLink",
    "FaultyProxy",
    "Simulation",
    "SimulationStuck",
    "SteppedEventLoop",
    "chosen_seed",
    "faulty_pair",
    "memory_pair",
]
