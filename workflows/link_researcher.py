"""The link researcher: links, pages, quotes, a report, approval, the pages again, publication."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.fetching.addresses import fairness_key
    from activities.fetching.records import FetchRequest, FoundLinks, LinksRequest, SearchRequest
    from activities.fetching.scraper import Scraper
    from activities.llm.records import OFFLINE, Reply, Think
    from activities.preconditions import Preconditions
    from activities.research.activities import ResearchActivities
    from activities.research.asking import about_page, about_pages, points_of
    from activities.research.publishing import Publisher, PublishReport
    from activities.research.records import DraftRequest, ExcerptRequest, LinkChoice, ReadRequest
    from common.agents.researcher import (
        PageReading,
        Published,
        PublishPlan,
        ResearcherInput,
        ResearcherMemory,
        ResearchOutcome,
        ResearchResult,
        SavedLink,
        Source,
        Unread,
    )
    from common.grammar import counted
    from common.notices.types import NoticeEvent
    from workflows.core.agent import (
        FETCH,
        ONCE,
        QUICK,
        READ,
        Action,
        Agent,
        CallPolicy,
        Outcome,
        Premise,
        cause_of,
    )

# Two exchanges with a server, each with a shorter time-out of its own; after that the outcome is looked up.
PUBLISH = CallPolicy(
    start_to_close=timedelta(minutes=3),
    retry=ONCE,
    stuck_after=FETCH.stuck_after,
    lasting=True,
)
# The pages are fetched again before publishing, just as politely: a host may ask for a minute between two
# pages. If waiting for it counted as a change, people would be asked for ever. So pages may be an hour old.
RECHECK_PAGE = replace(FETCH, schedule_to_close=timedelta(hours=1))
# How many links to consider, in each place that is searched, for each one to keep.
CONSIDERED = 12
MAX_CONSIDERED = 200


@workflow.defn(name="link-researcher")
class LinkResearcher(Agent[ResearcherInput, ResearcherMemory]):
    """Reads the best links on a topic and publishes quotes from them once people have approved the report."""

    @workflow.init
    def __init__(self, input: ResearcherInput) -> None:
        super().__init__(input, ResearcherMemory)

    @workflow.run
    async def run(self, input: ResearcherInput) -> ResearchResult:
        """Search, read, draft, ask, validate, publish; if pages have changed, read them and ask again."""
        memory = self.memory
        await self.require(Preconditions.check, input.needs)
        await self._search()
        while memory.published is None:
            await self._scrape()
            await self._read()
            plan = memory.plan = memory.plan or await self._draft()
            if not plan.claims:
                return await self._nothing_found(plan)
            outcome = await self._ask(plan)
            memory.decision = outcome.words
            if not outcome.approved:
                return _result(ResearchOutcome.NOT_APPROVED, plan, memory)
            await self._publish(outcome)
        return _result(ResearchOutcome.PUBLISHED, plan, memory)

    async def _search(self) -> None:
        """Find links, and save the best of them."""
        if self.memory.searched:
            return
        with self.node("search"):
            found = await self._found()
        with self.node("links"):
            links = tuple(SavedLink(url=each.url, text=each.text) for part in found for each in part.links)
            choice = LinkChoice(topic=self.input.topic, links=links, keep=self.input.links)
            self.memory.links = list((await self.call(ResearchActivities.choose_links, choice, QUICK)).links)
            self.memory.searched = True
            for number, link in enumerate(self.memory.links, 1):
                self.note(f"link {number}: {link.url}", words=link.text[:200])

    async def _found(self) -> list[FoundLinks]:
        """The links that the sites list, or the search provider's if no sites are named."""
        limit = min(CONSIDERED * self.input.links, MAX_CONSIDERED)
        if not self.input.sites:
            request = SearchRequest(query=self.input.topic, limit=limit)
            return [await self.call(Scraper.search, request, FETCH.fair("search"))]
        found = await asyncio.gather(*(self._found_on(site, limit) for site in self.input.sites))
        return [each for each in found if each is not None]

    async def _found_on(self, site: str, limit: int) -> FoundLinks | None:
        request = LinksRequest(site=site, words=self.input.topic, limit=limit)
        try:
            found = await self.call(Scraper.find_links, request, FETCH.fair(fairness_key(site)))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.note(f"no links from {site}: {cause_of(error)}")
            return None
        self.note(
            f"{counted(len(found.links), 'link')} from {site}", sources=found.sources, skipped=found.skipped
        )
        return found

    async def _scrape(self) -> None:
        """Fetch the pages not fetched yet: one after another per host, different hosts in parallel."""
        by_host: dict[str, list[str]] = {}
        for url in self.memory.unfetched:
            by_host.setdefault(fairness_key(url), []).append(url)
        if not by_host:
            return
        with self.node("scrape"):
            await asyncio.gather(*(self._scrape_host(urls) for urls in by_host.values()))
            self.memory.leave_out_copies()

    async def _scrape_host(self, urls: Sequence[str]) -> None:
        for url in urls:
            request = FetchRequest(url=url, fresh=url in self.memory.changed)
            try:
                page = await self.call(Scraper.fetch_page, request, FETCH.fair(fairness_key(url)))
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                self.memory.unread.append(Unread(url=url, reason=cause_of(error)))
                self.note(f"left out: {cause_of(error)}")
            else:
                self.memory.sources.append(
                    Source(
                        url=url,
                        title=page.title,
                        media_type=page.media_type,
                        digest=page.digest,
                        text=page.text,
                        characters=page.characters,
                        fetched_at=page.fetched_at,
                    )
                )
            self.progress(len(self.memory.sources) + len(self.memory.unread), len(self.memory.links))

    async def _read(self) -> None:
        """Extract from every page what it says on the topic."""
        read = {each.url for each in self.memory.readings}
        unread = [source for source in self.memory.sources if source.url not in read]
        if unread:
            with self.node("read"):
                self.memory.readings += await asyncio.gather(*map(self._reading, unread))

    async def _reading(self, source: Source) -> PageReading:
        topic = self.input.topic
        excerpt = await self.call(
            ResearchActivities.take_excerpt, ExcerptRequest(topic=topic, source=source), READ
        )
        reply = await self._points(about_page(topic, source, excerpt.text))
        request = ReadRequest(
            topic=topic,
            source=source,
            points=points_of(reply) if reply else None,
            model=reply.model if reply else OFFLINE,
        )
        reading = await self.call(ResearchActivities.check_quotes, request, READ)
        quotes = counted(reading.count, "quote")
        self.note(f"{quotes} from {source.url}", dropped=reading.dropped, model=reading.model)
        return reading

    async def _points(self, think: Think) -> Reply | None:
        """A language model's answer about pages; None if there is no model, or no usable answer."""
        try:
            reply = await self.think(think)
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            self.note(f"the language model gave nothing to use, quotes are taken by rules: {cause_of(error)}")
            return None
        return None if reply.model == OFFLINE else reply

    async def _draft(self) -> PublishPlan:
        with self.node("draft"):
            compared = await self._compared()
            request = DraftRequest(
                topic=self.input.topic,
                wanted=len(self.memory.links),
                target=self.input.publish,
                sources=tuple(self.memory.sources),
                readings=tuple(self.memory.readings),
                unread=tuple(self.memory.unread),
                compared=points_of(compared) if compared else (),
                compared_by=compared.model if compared else "",
            )
            draft = await self.call(ResearchActivities.draft_report, request, READ)
            self.memory.draft = draft.path
            return PublishPlan(
                topic=self.input.topic,
                target=draft.target,
                markdown=draft.markdown,
                html=draft.html,
                opening=draft.opening,
                claims=draft.claims,
                sources=request.sources,
                unread=request.unread,
                model=draft.model,
                weak=draft.weak,
            )

    async def _compared(self) -> Reply | None:
        """A language model's comparison of the pages, if one has read them."""
        readings = {each.url: each for each in self.memory.readings}
        in_order = [readings[source.url] for source in self.memory.sources]
        if sum(each.count > 0 for each in in_order) < 2 or all(each.model == OFFLINE for each in in_order):
            return None
        return await self._points(about_pages(in_order))

    async def _nothing_found(self, plan: PublishPlan) -> ResearchResult:
        """Tell people why the report is empty, instead of asking them to publish it."""
        reason = _why_empty(plan, self.memory)
        await self.tell_people(f"nothing to publish: {reason}", NoticeEvent.ALERT)
        return _result(ResearchOutcome.NOTHING_FOUND, plan, self.memory, reason)

    async def _ask(self, plan: PublishPlan) -> Outcome[PublishPlan]:
        with self.node("approval"):
            weak = f" (weak match: {plan.weak})" if plan.weak else ""
            question = (
                f"Publish the report on {plan.topic!r}, {counted(plan.claims, 'quote')} from "
                f"{counted(len(plan.sources), 'page')}{weak}, to {plan.target or 'the files of this agent'}?"
            )
            policy = self.input.policy(self.owner)
            evidence = list(_evidence(plan, self.memory))
            return await self.ask(question, plan, policy, evidence, _premises)

    async def _publish(self, outcome: Outcome[PublishPlan]) -> None:
        """Publish what was approved; if a page it quotes has changed, have that page read again."""
        plan = outcome.plan
        with self.node("publish"):
            action = Action[Published](
                Publisher.publish_report,
                PublishReport(plan=plan),
                outcome,
                _premises(plan),
                lookup=Publisher.find_published,
                policy=PUBLISH,
            )
            acted = await self.act(action)
        self.memory.published = acted.result
        if acted.result is None:
            self.memory.forget([each.premise for each in acted.drifts], acted.evidence)
            await self.carry_over()


def _why_empty(plan: PublishPlan, memory: ResearcherMemory) -> str:
    if not memory.links:
        return f"no page was found on {plan.topic!r}"
    if plan.sources:
        return f"the {len(plan.sources)} pages that were read say nothing on {plan.topic!r}"
    first = plan.unread[0]
    more = f", and {len(plan.unread) - 1} more" if len(plan.unread) > 1 else ""
    return f"none of {len(memory.links)} pages could be read: {first.url}: {first.reason}{more}"


def _premises(plan: PublishPlan) -> list[Premise]:
    """Every quoted page is unchanged since it was read."""
    return [
        Premise(
            each.url,
            Scraper.page_digest,
            FetchRequest(url=each.url),
            each.digest,
            read=lambda now: now.digest,
            policy=RECHECK_PAGE.fair(fairness_key(each.url)),
        )
        for each in plan.sources
    ]


def _evidence(plan: PublishPlan, memory: ResearcherMemory) -> Iterable[str]:
    """What helps people decide: where the draft is, what has changed, what is missing, who wrote it."""
    yield f"the draft to read: {memory.draft}"
    yield from (f"changed since it was approved: {each}" for each in memory.evidence)
    if len(plan.sources) < min(2, len(memory.links)) or not plan.sources:
        yield f"too little to compare: {len(plan.sources)} of {len(memory.links)} links could be read"
    yield from (f"left out: {each.url}: {each.reason}" for each in plan.unread)
    who = "the offline analyst, extractive, no language model" if plan.model == OFFLINE else plan.model
    yield f"written by {who}"


def _result(
    outcome: ResearchOutcome, plan: PublishPlan, memory: ResearcherMemory, reason: str = ""
) -> ResearchResult:
    return ResearchResult(
        outcome=outcome,
        topic=plan.topic,
        claims=plan.claims,
        read=tuple(each.url for each in plan.sources),
        unread=plan.unread,
        model=plan.model,
        places=memory.published.places if memory.published else (),
        draft=memory.draft,
        decision=memory.decision,
        reason=reason,
    )
