"""`python -m jaxnst.app`, the same as `jaxnst app`."""

import sys


if __name__ == "__main__":
    from jaxnst.cli.main import command

    sys.argv.insert(1, "app")
    sys.exit(command())
