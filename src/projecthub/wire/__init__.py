"""The wire contract without I/O: methods, shapes, units, error texts. Standard library only."""
