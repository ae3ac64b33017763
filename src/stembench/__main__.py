"""`python -m stembench`, the same as the `stembench` command."""

from stembench.cli import main

main()
