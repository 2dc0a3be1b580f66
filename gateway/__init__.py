"""The HTTP entry point. `python -m gateway` runs it; `docs/http.md` describes what it serves."""
