"""``python -m projecthub``: the command line."""

from projecthub.cli import main

main()
