"""The agent that `starter.py new NAME` writes, with its name in place of this one's."""
