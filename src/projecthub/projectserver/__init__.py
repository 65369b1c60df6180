"""The project server: lives inside a running project and does there what the project's people ask for.

The same program for every engine. It knows no database and no hub; it serves HTTP on a socket that it is given:
``POST /call`` for the methods of the wire, and ``GET /identity`` for the engine alone.
"""
