"""The version of Hibernaut, as `pyproject.toml` has it; an installation has no such file."""

VERSION = "0.1.0"
