"""Orders at Alpaca, paper or live, through its own library. Every error is classified here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_UP, Decimal, InvalidOperation
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError

from activities.quotes.alpaca import (
    CREDENTIALS,
    SECONDS,
    Refusal,
    check_credentials,
    disable_retries,
    read_refusal,
)
from activities.trading.broker import DuplicateOrderError, MarketState, OrderRequest, TooLateError
from common.agents.buyer import Order, OrderState, Side
from common.errors import permanent, retry_after
from common.flaws import flaw_of

Answer = TypeVar("Answer")

# Alpaca's codes for orders that the account may not place: too little money, day trading and so on.
_NOT_ALLOWED = range(40310000, 40320000)
# In any other status, the unfilled part of the order is still open.
_ENDED = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "replaced": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}


class AlpacaBroker:
    """The key's account; `url` replaces Alpaca's address."""

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        paper: bool,
        clock: Callable[[], datetime],
        url: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """Raises:
        SettingsError: key or secret is missing.
        """
        from alpaca.common.exceptions import APIError
        from alpaca.trading.client import TradingClient

        check_credentials(key, secret)
        self._client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        disable_retries(self._client, seconds)
        self._clock = clock
        self._api_error = APIError

    async def submit(self, order: OrderRequest) -> Order:
        """Place a limit order. See `Broker.submit`.

        After a broken connection, a timeout or a server error, the order may have been placed anyway.
        """
        # Do not use the library's order type: it turns quantity and price into floats.
        fields = {
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "side": order.side.value,
            "type": "limit",
            "qty": f"{order.quantity:f}",
            "limit_price": f"{_in_ticks(order):f}",
            "time_in_force": order.time_in_force.value,
        }

        def post() -> Any:
            # The last check before sending. A process suspended right after it cannot be guarded against.
            if order.not_after and self._clock() >= order.not_after:
                raise TooLateError(f"order {order.client_order_id} would go out after {order.not_after}")
            return self._client.post("/orders", fields)

        answer = await self._ask(post)
        if not isinstance(answer, Refusal):
            return _order(answer)
        if answer.status == 422 and "client_order_id" in answer.message:
            raise DuplicateOrderError(answer.message)
        if answer.status == 422 or (answer.status == 403 and answer.code in _NOT_ALLOWED):
            return _refused(order, answer.message, self._clock())
        raise _classified(answer)

    async def find(self, client_order_id: str) -> Order | None:
        """The order as Alpaca has it."""
        answer = await self._ask(lambda: self._client.get_order_by_client_id(client_order_id))
        if not isinstance(answer, Refusal):
            return _order(answer)
        if answer.status == 404:
            return None
        raise _classified(answer)

    async def cancel(self, client_order_id: str) -> Order | None:
        """Ask Alpaca to cancel. This may take a moment, so the order may come back as still open."""
        order = await self.find(client_order_id)
        if order is None or order.state.final:
            return order
        answer = await self._ask(lambda: self._client.cancel_order_by_id(order.broker_order_id))
        # 422: it ended meanwhile.
        if isinstance(answer, Refusal) and answer.status not in (404, 422):
            raise _classified(answer)
        return await self.find(client_order_id)

    async def market_open(self, at: datetime | None = None) -> MarketState:
        """The market's state by Alpaca's clock, which knows only the present: `at` is ignored."""
        answer: Any = await self._ask(self._client.get_clock)
        if isinstance(answer, Refusal):
            raise _classified(answer)
        try:
            return MarketState(
                open=answer["is_open"], next_open=answer["next_open"], next_close=answer["next_close"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ApplicationError(
                f"Alpaca's clock cannot be read: {flaw_of(error)}", type="UnreadableAnswer"
            ) from error

    async def _ask(self, call: Callable[[], Answer]) -> Answer | Refusal:
        try:
            return await asyncio.to_thread(call)
        except self._api_error as error:
            return read_refusal(error, self._clock)


def _in_ticks(order: OrderRequest) -> Decimal:
    """The limit in Alpaca's ticks (a cent, or a hundredth of one under a dollar), rounded in our favour."""
    tick = Decimal("0.01") if order.limit_price >= 1 else Decimal("0.0001")
    return order.limit_price.quantize(tick, ROUND_DOWN if order.side is Side.BUY else ROUND_UP)


def _classified(refusal: Refusal) -> ApplicationError:
    """The error for a refusal that is not about the order. If it is retryable, the outcome is unknown."""
    said = f"Alpaca answers {refusal.status}: {refusal.message}"
    if refusal.status in (401, 403):
        return permanent("BrokerRefused", f"{said}. Check {CREDENTIALS}.")
    if refusal.status == 429 and refusal.wait:
        return retry_after("TooManyRequests", said, refusal.wait)
    return ApplicationError(said, type="TooManyRequests" if refusal.status == 429 else "BrokerUnreachable")


def _order(answer: Any) -> Order:
    """An order from Alpaca's JSON.

    Raises:
        ApplicationError: type `UnreadableAnswer`, retryable, as the answer may have been truncated.
    """
    try:
        filled = Decimal(str(answer["filled_qty"]))
        price = answer.get("filled_avg_price")
        open_state = OrderState.PARTLY_FILLED if filled else OrderState.ACCEPTED
        status = str(answer["status"])
        return Order(
            client_order_id=answer["client_order_id"],
            broker_order_id=str(answer["id"]),
            symbol=answer["symbol"],
            side=Side(answer["side"]),
            quantity=Decimal(str(answer["qty"])),
            limit_price=Decimal(str(answer["limit_price"])),
            filled=filled,
            average_price=Decimal(str(price)) if price is not None and filled else None,
            state=_ENDED.get(status, open_state),
            reason=status if status in ("rejected", "replaced", "suspended", "held") else "",
            submitted_at=answer["submitted_at"],
            updated_at=answer.get("updated_at") or answer["submitted_at"],
        )
    except (KeyError, TypeError, AttributeError, ValueError, InvalidOperation) as error:
        raise ApplicationError(
            f"Alpaca's order cannot be read: {flaw_of(error)}", type="UnreadableAnswer"
        ) from error


def _refused(order: OrderRequest, reason: str, now: datetime) -> Order:
    """The order that Alpaca refused. It keeps no record of it, so `find` does not see it."""
    return Order(
        client_order_id=order.client_order_id,
        broker_order_id="",
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        limit_price=order.limit_price,
        filled=Decimal(0),
        average_price=None,
        state=OrderState.REJECTED,
        reason=reason,
        submitted_at=now.astimezone(UTC),
        updated_at=now.astimezone(UTC),
    )
