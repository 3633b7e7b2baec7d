"""The lessons, a module each: `lesson(show)` does it, as `demos.lesson` says."""
