"""``python -m learnloop``: the command line."""

from learnloop.cli.main import main

main()
