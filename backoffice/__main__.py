"""`python -m backoffice`: the `trueup` command where no script is installed."""

from backoffice.cli import main

main()
