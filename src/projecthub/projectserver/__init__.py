"""The project server: lives inside a running project and does there what the project's people ask for.

The same program for every engine. It knows no database and no hub; it serves HTTP on a socket that it is given: calls
at ``/call`` (one answer) and ``/stream`` (many values), and for the engine alone ``/identity``.
"""
