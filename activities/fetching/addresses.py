"""Web addresses: normalisation, and the host whose rate limit applies. Workflows import this as well."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

_PORTS = {"http": 80, "https": 443}
# Temporal's limit for a fairness key, in bytes.
_KEY_BYTES = 64


def normalise(url: str) -> str:
    """`url` in the canonical form under which its page is stored.

    Scheme and host in lower case, no default port, no fragment, `/` for an empty path and for a backslash, no
    `.` and `..`, unusual characters escaped. The order of query parameters is kept, as it may matter.

    Raises:
        ValueError: it is not an absolute http or https address.
    """
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is no http or https address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _PORTS[scheme]) else f":{parts.port}"
    # Keep credentials, so that the guard sees and refuses them.
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    path = _without_dots(quote(parts.path.replace("\\", "/"), safe="/%:@!$&'()*+,;=~-._"))
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]{}|")
    return urlunsplit((scheme, f"{user}{host}{port}", path, query, ""))


def resolve(base: str, reference: str) -> str | None:
    """Resolve `reference` against the page at `base`; None if the result is not an http or https address."""
    try:
        url = urldefrag(urljoin(base, reference.strip())).url
        normalise(url)
    except ValueError:
        return None
    return url if reference.strip() and len(url) <= 2000 else None


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")[1:] or [""]
    for part in parts:
        # Browsers and servers treat escaped dots as dots.
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            kept = kept[:-1]
        elif dots != ".":
            kept.append(part)
    if dots in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def host_of(url: str) -> str:
    """The host whose rate limit applies to `url`: its name, with the port unless that is 80 or 443.

    Raises:
        ValueError: it is not an absolute http or https address.
    """
    parts = urlsplit(normalise(url))
    host = parts.hostname or ""
    return host if parts.port in (None, 80, 443) else f"{host}:{parts.port}"


def fairness_key(url: str) -> str:
    """Temporal's fairness key for fetches from this host, for `CallPolicy.fair`.

    Never raises: anything that is not an address gets the key `none`, and fetching it will say why.
    """
    try:
        host = host_of(url)
    except ValueError:
        return "none"
    if len(host.encode()) <= _KEY_BYTES:
        return host
    return hashlib.sha256(host.encode()).hexdigest()


def origin_of(url: str) -> str:
    """Scheme, host and port of `url`: the scope of a robots.txt."""
    parts = urlsplit(normalise(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
