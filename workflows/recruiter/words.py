"""Words for letters: a language model's, or a fixed text if it gives none that can be used."""

from __future__ import annotations

from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.llm.records import OFFLINE, Think
from activities.recruiting.memory import RecruiterMemory
from activities.recruiting.understanding import ShortWords
from common.agents.recruiter import RecruiterInput
from workflows.core.agent import Agent, cause_of


async def words_for(
    agent: Agent[RecruiterInput, RecruiterMemory], think: Think, fixed: str
) -> tuple[str, str]:
    """The words that `think` asks for and who wrote them; `fixed` if the model gives nothing usable.

    People approve whatever is sent, so a model's bad answer is no reason to end a long-running agent.
    """
    try:
        reply = await agent.think(think)
    except (ActivityError, ApplicationError) as error:
        if is_cancelled_exception(error):
            raise
        agent.note(f"the language model gave nothing to use, a fixed text is taken: {cause_of(error)}")
        return fixed, OFFLINE
    return ShortWords.model_validate(reply.value).text, reply.model
