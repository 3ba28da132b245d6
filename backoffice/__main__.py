"""`python -m backoffice`: the `trueup` command where no script is installed."""

from backoffice.cli import main

# A process that is spawned rather than forked imports this file again.
if __name__ == "__main__":
    main()
