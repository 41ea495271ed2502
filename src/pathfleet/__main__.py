"""Run the command line as `python -m pathfleet`."""

from pathfleet.cli import main

main()
