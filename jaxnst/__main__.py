"""`python -m jaxnst`, the same as the command `jaxnst`."""

import sys

from .cli.main import command


if __name__ == "__main__":
    sys.exit(command())
