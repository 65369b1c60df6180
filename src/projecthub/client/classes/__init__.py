"""Classes: a roster and items, declared in a file, and what follows from it. No I/O; the calls are `hub.classes`'."""
