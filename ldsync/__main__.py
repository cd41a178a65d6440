"""`python -m ldsync`: the same as the `ldsync` command."""

from ldsync.cli import main

if __name__ == "__main__":
    main()
