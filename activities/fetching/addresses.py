"""Web addresses: one spelling of each, and the host whose rate applies. Imported by workflows, too."""

from __future__ import annotations

import hashlib
from urllib.parse import quote, urldefrag, urljoin, urlsplit, urlunsplit

_PORTS = {"http": 80, "https": 443}
# What Temporal takes as a fairness key, in bytes.
_KEY_BYTES = 64


def normalised(url: str) -> str:
    """`url` in the one spelling under which its page is stored.

    Scheme and host in lower case, no default port, no fragment, `/` for an empty path and for a backslash, no
    `.` and `..`, odd characters escaped. The order of a query's parts may matter and stays.

    Raises:
        ValueError: it is no absolute http or https address.
    """
    parts = urlsplit(url.strip())
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is no http or https address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _PORTS[scheme]) else f":{parts.port}"
    # Credentials are kept so that the guard sees and refuses them.
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    path = _without_dots(quote(parts.path.replace("\\", "/"), safe="/%:@!$&'()*+,;=~-._"))
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]{}|")
    return urlunsplit((scheme, f"{user}{host}{port}", path, query, ""))


def joined(base: str, reference: str) -> str | None:
    """The address that a page at `base` means by `reference`; None where it is no http or https address."""
    try:
        url = urldefrag(urljoin(base, reference.strip())).url
        normalised(url)
    except ValueError:
        return None
    return url if reference.strip() and len(url) <= 2000 else None


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")[1:] or [""]
    for part in parts:
        # Browsers and servers take escaped dots for dots.
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            kept = kept[:-1]
        elif dots != ".":
            kept.append(part)
    if dots in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def host_of(url: str) -> str:
    """The host whose rate applies to `url`: its name, and the port where it is neither 80 nor 443.

    Raises:
        ValueError: it is no absolute http or https address.
    """
    parts = urlsplit(normalised(url))
    host = parts.hostname or ""
    return host if parts.port in (None, 80, 443) else f"{host}:{parts.port}"


def fairness_key(url: str) -> str:
    """The key under which the server hands out fetches of this host, for `CallPolicy.fair`.

    Never raises: what is no address gets the key `none`, and fetching it will say why.
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
    parts = urlsplit(normalised(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
