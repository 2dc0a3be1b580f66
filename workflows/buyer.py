"""The buyer: a price, documents, a short case, approval, final validation, one limit order until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.documents.documents import Documents, DocumentSet, DocumentsRequest
    from activities.llm.offline import weakness
    from activities.llm.records import OFFLINE, Material, Think
    from activities.preconditions import Preconditions
    from activities.quotes.quotes import QuoteRequest, Quotes
    from activities.trading.orders import CancelOrder, FindOrder, MarketRequest, Orders, PlaceOrder
    from common.agents.buyer import (
        EDITABLE,
        BuyerInput,
        BuyerMemory,
        BuyerResult,
        BuyOutcome,
        BuyPlan,
        BuyWhen,
        OnDrift,
        Order,
        OrderState,
        Side,
    )
    from common.grammar import counted
    from workflows.core.agent import (
        LONG,
        ONCE,
        READ,
        Action,
        Agent,
        CallPolicy,
        Outcome,
        Premise,
        StillTrue,
        Within,
    )

# One exchange with a broker, which has a shorter time-out of its own. After this the outcome is unknown, and
# is looked up.
ORDER = CallPolicy(start_to_close=timedelta(seconds=45), retry=ONCE, lasting=True)
# A request that a dead worker left on the wire has ended by then.
SETTLED = timedelta(seconds=60)
# An order may be open for days: look at it less and less often.
FIRST_LOOK = timedelta(seconds=2)
RAREST_LOOK = timedelta(minutes=5)
# The author of the case if there was nothing to write it from.
NOBODY = "none"


@workflow.defn(name="buyer")
class Buyer(Agent[BuyerInput, BuyerMemory]):
    """Buys once, at a price seen seconds before and within the limit that people have approved."""

    @workflow.init
    def __init__(self, input: BuyerInput) -> None:
        super().__init__(input, BuyerMemory)

    @workflow.run
    async def run(self, input: BuyerInput) -> BuyerResult:
        """Wait for the price, plan, ask, validate, buy, follow; on drift ask again or stop."""
        memory = self.memory
        if memory.order is None:
            await self.require(Preconditions.check, input.needs)
        while memory.order is None:
            if memory.plan is None and not await self._until_within_limit():
                return self._not_reached()
            plan = memory.plan = memory.plan or await self._plan()
            if input.when is BuyWhen.WITHIN_LIMIT and plan.quote.price > plan.limit:
                # The price went over the limit while the documents were read.
                memory.plan = None
                continue
            outcome = await self._ask(plan)
            memory.decision = outcome.words
            if not outcome.approved:
                return _result(BuyOutcome.NOT_APPROVED, plan, memory)
            await self._until_the_market_opens()
            await self._buy(outcome)
            memory.plan = outcome.plan if memory.order else None
            if memory.order is None and input.on_drift is OnDrift.STOP:
                return _result(BuyOutcome.DRIFTED, outcome.plan, memory)
        return await self._follow()

    async def _until_within_limit(self) -> bool:
        """If the buyer is to wait for its limit, sleep until the price is within it; False if it never was.

        While the market is closed it looks at nothing: nobody could buy at that price.
        """
        input, memory = self.input, self.memory
        if input.when is BuyWhen.NOW:
            return True
        with self.node("wait"):
            memory.wait_until = memory.wait_until or workflow.now() + input.wait_for
            while True:
                market = await self.call(Orders.market, MarketRequest(), READ)
                if market.open:
                    quote = memory.quote = await self.call(
                        Quotes.quote, QuoteRequest(symbol=input.symbol), READ
                    )
                    if quote.price <= input.limit:
                        self.note(f"{quote.symbol} costs {quote.price}, within the limit of {input.limit}")
                        return True
                if workflow.now() >= memory.wait_until:
                    return False
                opening = None if market.open else market.next_open
                until = min(opening or workflow.now() + input.look_every, memory.wait_until)
                # A fresh history finds this sleep by its words, so they must not change.
                await self.hibernate(until, waiting_for=f"a price of {input.limit} or less", quietly=True)
                await self.carry_over()

    def _not_reached(self) -> BuyerResult:
        """The result if nobody was asked: says how near the price came."""
        input, quote = self.input, self.memory.quote
        reason = f"the price was not at or under {input.limit} within {input.wait_for}"
        if quote is not None:
            reason += f"; {quote.price} at the last look"
        self.note(reason)
        return BuyerResult(
            outcome=BuyOutcome.NOT_REACHED,
            symbol=input.symbol,
            quantity=input.quantity,
            limit=input.limit,
            decision=self.memory.decision,
            reason=reason,
        )

    async def _plan(self) -> BuyPlan:
        with self.node("case"):
            quote = await self.call(Quotes.quote, QuoteRequest(symbol=self.input.symbol), READ)
            self.note(f"{quote.symbol} costs {quote.price}", at=quote.at.isoformat(), source=quote.source)
            documents = await self._read()
            case, model = await self._case(documents) if documents else ("No documents were given.", NOBODY)
            return BuyPlan(
                symbol=self.input.symbol,
                side=Side.BUY,
                quantity=self.input.quantity,
                limit=self.input.limit,
                quote=quote,
                tolerance=self.input.tolerance,
                time_in_force=self.input.time_in_force,
                case=case,
                documents=documents.digest if documents else "",
                model=model,
            )

    async def _read(self) -> DocumentSet | None:
        if self.input.documents is None:
            return None
        documents = await self.call(
            Documents.read_documents, DocumentsRequest(folder=self.input.documents), LONG
        )
        self.note(f"{counted(len(documents.documents), 'document')} read", unreadable=documents.unreadable)
        return documents

    async def _case(self, documents: DocumentSet) -> tuple[str, str]:
        """Reasons for and against buying, in a few sentences from the documents, and who wrote them."""
        material = tuple(
            Material(id=each.name, source=each.title or each.name, stored=each.text)
            for each in documents.documents
        )
        if not material:
            return "The folder holds no document that could be read.", NOBODY
        instruction = (
            f"In five sentences or fewer: what speaks for and against buying {self.input.symbol} now? "
            "Name risk, price, earnings and outlook where the documents do."
        )
        reply = await self.think(Think(instruction=instruction, material=material, max_output_tokens=600))
        return reply.text, reply.model

    async def _ask(self, plan: BuyPlan) -> Outcome[BuyPlan]:
        with self.node("approval"):
            why = weakness(plan.case) if plan.model == OFFLINE else ""
            price = f"{plan.quote.price} now{why and f' (weak case: {why})'}"
            question = f"Buy {plan.quantity} {plan.symbol} at {plan.limit} or less, {price}?"
            policy = self.input.policy(self.owner, editable=EDITABLE)
            evidence = list(self.memory.drifts)
            if plan.model == NOBODY and self.input.documents:
                evidence.append("no document could be read, so nothing speaks for it")
            if plan.quote.price > plan.limit:
                evidence.append("the price is over the limit: approved as it is, nothing will be bought")
            return await self.ask(question, plan, policy, evidence, self._premises)

    async def _until_the_market_opens(self) -> None:
        """Sleep until the market opens, so that the facts are fetched when the order can be filled."""
        with self.node("market"):
            while not (market := await self.call(Orders.market, MarketRequest(), READ)).open:
                await self.hibernate(market.next_open, waiting_for="the market to open")

    async def _buy(self, outcome: Outcome[BuyPlan]) -> None:
        """Place the order, unless the facts have moved too far."""
        memory, plan = self.memory, outcome.plan
        with self.node("buy"):
            memory.key = self.action_key(plan)
            action = Action[Order](
                Orders.place_order,
                PlaceOrder(plan=plan, limit_price=plan.limit),
                outcome,
                self._premises(plan),
                # Never more than the price just validated, whatever the plan would allow.
                fence=lambda order, facts: order.model_copy(
                    update={"limit_price": min(facts["price"], plan.limit)}
                ),
                lookup=Orders.find_placed,
                policy=ORDER,
            )
            async with self._withdrawing(memory.key):
                acted = await self.act(action)
            memory.order, memory.drifts = acted.result, acted.evidence
            memory.give_up_at = workflow.now() + self.input.patience

    def _premises(self, plan: BuyPlan) -> list[Premise]:
        quote = QuoteRequest(symbol=plan.symbol)
        band = Within(relative=plan.tolerance)
        premises = [
            Premise("price", Quotes.quote, quote, plan.quote.price, band, read=lambda now: now.price),
            Premise(
                "price within the limit",
                Quotes.quote,
                quote,
                True,
                StillTrue(),
                read=lambda now: now.price <= plan.limit,
            ),
        ]
        if self.input.documents is not None:
            folder = DocumentsRequest(folder=self.input.documents)
            premises.append(
                Premise(
                    "documents",
                    Documents.documents_digest,
                    folder,
                    plan.documents,
                    read=lambda now: now.digest,
                )
            )
        return premises

    async def _follow(self) -> BuyerResult:
        """Follow the order, less and less often, until it has ended; cancel it when patience runs out."""
        memory = self.memory
        order, plan = memory.order, memory.plan
        assert order is not None
        assert plan is not None
        pause = FIRST_LOOK
        with self.node("follow"):
            async with self._withdrawing(memory.key):
                while not order.state.final:
                    give_up_at = memory.give_up_at or workflow.now()
                    if workflow.now() < give_up_at:
                        until = min(workflow.now() + pause, give_up_at)
                        await self.hibernate(until, waiting_for="the order to be filled")
                        found = (await self.call(Orders.find_order, FindOrder(key=memory.key), READ)).order
                    else:
                        found = await self._withdraw(memory.key)
                        if not (found and found.state.final):
                            until = workflow.now() + pause
                            await self.hibernate(until, waiting_for="the order to be cancelled")
                    pause = min(pause * 2, RAREST_LOOK)
                    if found and found != order:
                        self.note(found.in_words)
                    order = memory.order = found or order
                    await self.carry_over()
            self.note(order.in_words, reason=order.reason)
        return _result(_outcome(order), plan, memory)

    @asynccontextmanager
    async def _withdrawing(self, key: str) -> AsyncIterator[None]:
        """Leave no open order behind if the agent is cancelled inside the block."""
        try:
            yield
        except (asyncio.CancelledError, ActivityError) as error:
            if is_cancelled_exception(error):
                with self.node("withdraw"):
                    await self._withdraw_wholly(key)
            raise

    async def _withdraw_wholly(self, key: str) -> None:
        """Cancel the order, and wait until it has ended: that may take a broker some time."""
        order = await self._withdraw(key)
        if order is None:
            # It may still have been on its way to the broker.
            await workflow.sleep(SETTLED)
            order = await self._withdraw(key)
        pause = FIRST_LOOK
        while order and not order.state.final:
            await workflow.sleep(pause)
            pause = min(pause * 2, RAREST_LOOK)
            order = await self._withdraw(key)

    async def _withdraw(self, key: str) -> Order | None:
        """Cancel the open part of the order, and return its current state."""
        found = await self.call(Orders.cancel_order, CancelOrder(key=key), READ)
        if found.order:
            self.note(f"withdrawn: {found.order.in_words}")
        return found.order


def _outcome(order: Order) -> BuyOutcome:
    if order.filled >= order.quantity:
        return BuyOutcome.BOUGHT
    if order.filled > 0:
        return BuyOutcome.PARTLY_BOUGHT
    return BuyOutcome.REFUSED if order.state is OrderState.REJECTED else BuyOutcome.NOT_FILLED


def _result(outcome: BuyOutcome, plan: BuyPlan, memory: BuyerMemory) -> BuyerResult:
    order = memory.order
    return BuyerResult(
        outcome=outcome,
        symbol=plan.symbol,
        quantity=plan.quantity,
        limit=plan.limit,
        decision=memory.decision,
        filled=order.filled if order else Decimal(0),
        average_price=order.average_price if order else None,
        spent=order.filled * (order.average_price or 0) if order else Decimal(0),
        client_order_id=order.client_order_id if order else "",
        order_state=order.state if order else None,
        reason=order.reason if order else "; ".join(memory.drifts),
    )
