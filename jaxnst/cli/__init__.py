"""The command `jaxnst`."""
