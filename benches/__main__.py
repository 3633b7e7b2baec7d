"""`python -m benches`: the same as `python benches/run.py`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from run import main

    sys.exit(main())
