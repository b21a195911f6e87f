"""The version, as the installed package states it."""

import importlib.metadata


__version__ = importlib.metadata.version("jaxnst")
