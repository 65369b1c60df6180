"""Commands for people: the command line ``projecthub``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    from projecthub.cli.commands import run

    sys.exit(run())
