"""The benchmark suite: how programs are started and pinned, what is measured, how it is reported."""
