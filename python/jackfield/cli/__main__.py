"""`python -m jackfield.cli` is `jackfield`."""

from . import main

main()
