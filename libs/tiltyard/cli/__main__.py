"""`python -m tiltyard.cli` is the `tiltyard` command."""

from tiltyard.cli import main

main(prog_name="tiltyard")
