"""The version of Hibernaut, the same as in `pyproject.toml`, which an installation does not have."""

VERSION = "0.1.0"
