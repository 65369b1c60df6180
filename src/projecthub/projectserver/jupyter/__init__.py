"""Jupyter inside a project: kernels over unix sockets, fresh ones from a pool, named ones, whole notebooks."""
