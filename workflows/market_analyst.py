"""The market analyst: watches an index while its market is open, sleeps in between, reports at the end."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.market.look import MarketWatch
    from activities.market.records import LookRequest, LookResult, MarketReportFiles, MarketReportRequest
    from activities.market.report import MarketReports
    from common.agents.agent import Receipt, Woken
    from common.agents.fields import FASTEST, SLOWEST
    from common.agents.market import Crossing, MarketInput, MarketMemory, MarketResult, WatchOutcome
    from common.agents.market_rules import MAX_RULES, Rule, Then, by_condition
    from common.agents.market_words import NotUnderstoodError, Order, Told, parse_told
    from common.grammar import LONGEST, short
    from common.notices.types import NoticeEvent
    from workflows.core.agent import LONG, ONCE, Agent, CallPolicy, cause_of

# A failed look only misses one price, and the next look comes soon: so no retries, and it never counts as
# stuck. If no worker takes it in time, give up: it would look at another moment than it says.
LOOK = CallPolicy(
    start_to_close=timedelta(minutes=1),
    retry=ONCE,
    schedule_to_start=timedelta(minutes=2),
    stuck_after=None,
)
AFTER_FAILURE = timedelta(minutes=5)
# A look takes some 13 events; history starts afresh before the server asks for it at 4,096.
FRESH_AT = 3_900
# How many questions may be open at once; people are only told of further crossings.
ASKED_AT_ONCE = 5


@workflow.defn(name="market-analyst")
class MarketAnalyst(Agent[MarketInput, MarketMemory]):
    """Sleeps while the market is closed, looks at it while it is open, reports once what its rules notice."""

    @workflow.init
    def __init__(self, input: MarketInput) -> None:
        super().__init__(input, MarketMemory)
        memory = self.memory
        self._started = memory.started = memory.started or workflow.now()
        memory.until = memory.until or self._started + input.lasts
        self._asking: dict[Crossing, asyncio.Task[None]] = {}
        self._is_over = False

    @workflow.run
    async def run(self, input: MarketInput) -> MarketResult:
        """Watch until the last close, then report."""
        with self.node("watch"):
            await self._watch()
        with self.node("report"):
            written = await self._write(final=True)
        memory = self.memory
        return MarketResult(
            outcome=WatchOutcome.FINISHED_EARLY if memory.finish else WatchOutcome.WATCHED,
            index=input.index,
            crossings=memory.crossings,
            figures=written.figures,
            files=written.files,
        )

    def hear(self, words: str) -> Receipt:
        """Do what people say if it is clear what they mean; otherwise say what would be understood."""
        try:
            if self._is_over:
                raise NotUnderstoodError("the watch is over, and its report is being written")
            done = self._obey(parse_told(words))
        except NotUnderstoodError as error:
            self.note(str(error))
            return Receipt(taken=False, words=str(error))
        self.note(done)
        return Receipt(taken=True, words=done)

    async def _watch(self) -> None:
        """Look, notice, sleep, until the watch is over or people end it."""
        memory = self.memory
        while not memory.finish:
            self._ask_open()
            if memory.next_at is None or memory.next_at <= workflow.now():
                until = memory.until
                await self._look()
                # Not over if people have extended it in the meantime.
                if memory.next_at is None and memory.until == until:
                    break
                continue
            if memory.report:
                memory.report = False
                await self._write(final=False)
                continue
            if workflow.info().get_current_history_length() > FRESH_AT:
                await self.carry_over(now=True)
            woken = await self.hibernate(
                memory.next_at,
                lambda: memory.report or bool(memory.finish) or self._has_failed(),
                "the next price" if memory.open else "the market to open",
                quietly=True,
            )
            if woken is Woken.SIGNAL:
                memory.next_at = None
        self._is_over = True
        await self._ask_no_more()

    async def _look(self) -> None:
        """Look once; after a failure, look again in a few minutes, and tell people once."""
        memory, now = self.memory, workflow.now()
        assert memory.until is not None
        request = LookRequest(
            index=self.input.index,
            calendar=self.input.calendar,
            every=self._every,
            rules=tuple(self._rules),
            started=self._started,
            until=memory.until,
            at=now,
            series=memory.series,
        )
        try:
            looked = await self.call(MarketWatch.look, request, LOOK)
        except ActivityError as error:
            if is_cancelled_exception(error) or getattr(error.cause, "non_retryable", False):
                raise
            memory.next_at = now + AFTER_FAILURE
            if not memory.failing:
                memory.failing = True
                await self.tell_people(f"could not look at the market: {cause_of(error)}", NoticeEvent.STUCK)
            return
        memory.failing = False
        memory.series, memory.next_at, memory.open = looked.series, looked.next_at, looked.open
        self._note_end(looked)
        for note in looked.notes:
            self.note(note)
        for crossing in looked.crossings:
            await self._notice(crossing)

    def _note_end(self, looked: LookResult) -> None:
        """Note when the watch will end, and again whenever that changes."""
        memory = self.memory
        if looked.ends_at and looked.ends_at != memory.ends_at:
            memory.ends_at = looked.ends_at
            self.note(f"watches until {looked.ends_at:%Y-%m-%d %H:%M} UTC")
        end = memory.ends_at or memory.until or self._started
        whole, passed = end - self._started, min(workflow.now(), end) - self._started
        self.progress(passed // timedelta(minutes=1), whole // timedelta(minutes=1))

    async def _notice(self, crossing: Crossing) -> None:
        """Note what a rule has noticed, and tell or ask people if the rule says so."""
        memory = self.memory
        memory.crossings += 1
        if crossing.then is Then.ASK and len(memory.asking) < ASKED_AT_ONCE:
            self.note(crossing.words)
            memory.asking.append(crossing)
        elif crossing.then is Then.NOTE:
            self.note(crossing.words)
        else:
            await self.tell_people(crossing.words, NoticeEvent.ALERT)

    def _ask_open(self) -> None:
        """Keep a question open about each crossing that people are to be asked about; a no ends the watch."""
        for task in self._asking.values():
            if task.done():
                task.result()
        for crossing in self.memory.asking:
            if crossing not in self._asking:
                self._asking[crossing] = asyncio.create_task(self._ask(crossing))

    async def _ask(self, crossing: Crossing) -> None:
        memory = self.memory
        policy = self.input.policy(self.owner)
        outcome = await self.ask(f"{crossing.words}. Go on watching?", crossing, policy)
        memory.asking = [each for each in memory.asking if each != crossing]
        if not outcome.approved and outcome.decision is not None:
            memory.finish = memory.finish or outcome.words

    def _has_failed(self) -> bool:
        return any(task.done() and task.exception() for task in self._asking.values())

    async def _ask_no_more(self) -> None:
        """Withdraw all open questions."""
        for crossing, task in self._asking.items():
            if not task.done():
                task.cancel()
                await self.withdraw(crossing, "the watch is over")
        self.memory.asking = []

    async def _write(self, *, final: bool) -> MarketReportFiles:
        memory = self.memory
        memory.reports += not final
        request = MarketReportRequest(
            index=self.input.index,
            calendar=self.input.calendar,
            every=self._every,
            rules=tuple(self._rules),
            started=self._started,
            ended=workflow.now(),
            series=memory.series,
            number=0 if final else memory.reports,
        )
        written = await self.call(MarketReports.write_market_report, request, LONG)
        self.note(f"report: {written.files['html'].rpartition('/')[2]}")
        return written

    @property
    def _every(self) -> timedelta:
        return self.memory.every or self.input.every

    @property
    def _rules(self) -> list[Rule]:
        return self.input.rules if self.memory.rules is None else self.memory.rules

    def _obey(self, told: Told) -> str:
        """Carry out an order, and return what the agent does now.

        Raises:
            NotUnderstoodError: it cannot be carried out.
        """
        memory = self.memory
        match told.order:
            case Order.REPORT:
                memory.report = True
                return "it writes a report now"
            case Order.FINISH:
                memory.finish = memory.finish or "told to finish"
                return "it ends the watch and writes its report"
            case Order.LONGER:
                return self._watch_longer(told.span)
            case Order.EVERY:
                return self._look_every(told.span)
        rules = by_condition(self._rules)
        if told.rule and told.order in (Order.DROP, Order.CHANGE) and told.rule.condition not in rules:
            known = "; ".join(rules) or "none"
            raise NotUnderstoodError(f"there is no rule {told.rule.condition}; there are: {known}")
        if told.rule and told.order is not Order.ADD:
            del rules[told.rule.condition]
        if new := told.to if told.order is Order.CHANGE else told.rule if told.order is Order.ADD else None:
            rules[new.condition] = new
        if len(rules) > MAX_RULES:
            raise NotUnderstoodError(f"there are {MAX_RULES} rules already: drop one first")
        memory.rules = list(rules.values())
        return f"it looks out for: {'; '.join(map(str, memory.rules)) or 'nothing'}"

    def _watch_longer(self, span: timedelta) -> str:
        memory = self.memory
        assert memory.until is not None
        if memory.until + span > self._started + LONGEST:
            raise NotUnderstoodError("a watch lasts ten years at most")
        memory.until += span
        return f"it watches until the last close by {_minute(memory.until)}"

    def _look_every(self, span: timedelta) -> str:
        if not FASTEST <= span <= SLOWEST:
            raise NotUnderstoodError("it looks once a minute at most, and once a day at least")
        self.memory.every = span
        return f"it looks every {short(span)}, from the next look on"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
