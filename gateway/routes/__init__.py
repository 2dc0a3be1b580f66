"""The gateway's routes, one file per subject."""
