"""Faults that the paper broker can simulate, for tests and benchmarks; none by default."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Shares (0 to 1) of submissions that go wrong, and seconds that every call takes.

    What goes wrong depends only on the seed, the order and the attempt's number, so a run is reproducible
    even if its workers are killed.

    Attributes:
        lost_acknowledgements: the order is booked, then the connection breaks.
        lost_requests: the connection breaks, and no order is booked.
        duplicates: the request is delivered twice.
        slowness: seconds before every answer.
        seed: another seed affects other orders.
    """

    lost_acknowledgements: float = 0
    lost_requests: float = 0
    duplicates: float = 0
    slowness: float = 0
    seed: int = 0

    def loses_acknowledgement(self, client_order_id: str, attempt: int) -> bool:
        """Whether the answer to this attempt gets lost."""
        return self._share("acknowledgement", client_order_id, attempt) < self.lost_acknowledgements

    def loses_request(self, client_order_id: str, attempt: int) -> bool:
        """Whether this attempt never arrives."""
        return self._share("request", client_order_id, attempt) < self.lost_requests

    def duplicates_request(self, client_order_id: str, attempt: int) -> bool:
        """Whether this attempt arrives twice."""
        return self._share("duplicate", client_order_id, attempt) < self.duplicates

    def _share(self, *what: object) -> float:
        """A number from 0 up to, but not including, 1."""
        text = ":".join(str(part) for part in (self.seed, *what))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
