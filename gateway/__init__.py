"""A door: HTTP. `python -m gateway` runs it; `docs/http.md` says what it serves."""
