"""Language models behind an API, through `pydantic_ai.direct`: OpenAI's protocol, Anthropic's, Bedrock's.

The client libraries do not retry: Temporal does. They are loaded on the first call, so a worker that uses
only the offline analyst never loads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from activities.calls.heartbeats import heartbeats
from activities.llm.body_limits import bound_botocore, bounded_client
from activities.llm.failures import classify_failure, content_filtered
from activities.llm.prompt import RULES, Completion, Prompt
from common.settings import ModelSettings
from common.settings.models import provider_of

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model, ModelRequestParameters

# Far more than any answer of 16,000 tokens, and far less than would hurt a worker or Temporal.
MAX_ANSWER_BYTES = 1_000_000
# Extra seconds before our own timeout: the client's timeout gives a clearer error, so let it fire first.
GRACE = 0.5
_ANSWER = "answer"


class ApiModel:
    """One model of one provider. Thread-safe: each exchange has its own client."""

    def __init__(
        self, model: str, settings: ModelSettings, *, address: str = "", max_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        """`model` is `provider:NAME`; `address` replaces the provider's own."""
        self._model = model
        self._settings = settings
        self._address = address
        self._max_bytes = max_bytes

    def complete(self, prompt: Prompt, attempt: int = 1) -> Completion:
        """Make one exchange; after several attempts, an unreadable answer is a permanent error.

        Raises:
            ProviderError: it failed; the error says what to do, and whether it may have cost money.
        """
        try:
            response = asyncio.run(self._exchange(prompt))
        except Exception as error:
            raise classify_failure(error, self._model, attempt) from error
        if response.finish_reason == "content_filter":
            raise content_filtered(self._model)
        return Completion(
            text=_answer(response),
            input_tokens=response.usage.input_tokens,
            output_tokens=response.usage.output_tokens,
            cut=response.finish_reason == "length",
        )

    async def _exchange(self, prompt: Prompt) -> ModelResponse:
        from pydantic_ai.direct import model_request

        # The clients' own timeouts apply to each read, so they never stop an answer that trickles.
        async with heartbeats(), self._opened() as model, asyncio.timeout(self._settings.seconds + GRACE):
            return await model_request(
                model,
                _messages(prompt),
                model_settings={
                    "max_tokens": prompt.max_output_tokens,
                    "request_timeout": self._settings.seconds,
                },
                model_request_parameters=_parameters(prompt),
            )

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Model]:
        name = self._model.partition(":")[2]
        provider = provider_of(self._model)
        if provider == "bedrock":
            yield self._bedrock(name)
            return
        async with bounded_client(self._settings.seconds, self._max_bytes) as http:
            yield self._openai(name, http) if provider == "openai" else self._anthropic(name, http)

    def _openai(self, name: str, http: Any) -> Model:
        from openai import AsyncOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        client = AsyncOpenAI(
            # A local server may need no key; the library insists on one.
            api_key=self._settings.keys["openai"] or "none",
            base_url=self._address or "https://api.openai.com/v1",
            max_retries=0,
            timeout=self._settings.seconds,
            http_client=http,
        )
        return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))

    def _anthropic(self, name: str, http: Any) -> Model:
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        client = AsyncAnthropic(
            api_key=self._settings.keys["anthropic"],
            base_url=self._address or "https://api.anthropic.com",
            max_retries=0,
            timeout=self._settings.seconds,
            http_client=http,
        )
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client))

    def _bedrock(self, name: str) -> Model:
        import boto3
        from botocore.config import Config
        from pydantic_ai.models.bedrock import BedrockConverseModel
        from pydantic_ai.providers.bedrock import BedrockProvider

        key, _, secret = self._settings.keys["bedrock"].partition(":")
        client = boto3.Session(
            aws_access_key_id=key if secret else None, aws_secret_access_key=secret or None
        ).client(
            "bedrock-runtime",
            region_name=self._settings.region,
            endpoint_url=self._address or None,
            config=Config(
                retries={"total_max_attempts": 1},
                read_timeout=self._settings.seconds,
                connect_timeout=min(self._settings.seconds, 10),
            ),
        )
        bound_botocore(client, self._max_bytes, self._settings.seconds)
        return BedrockConverseModel(name, provider=BedrockProvider(bedrock_client=client))


def _messages(prompt: Prompt) -> list[ModelMessage]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

    return [
        ModelRequest(parts=[UserPromptPart(turn.text)], instructions=RULES)
        if turn.role == "user"
        else ModelResponse(parts=[TextPart(turn.text)])
        for turn in prompt.turns
    ]


def _parameters(prompt: Prompt) -> ModelRequestParameters:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.tools import ToolDefinition

    if prompt.schema is None:
        return ModelRequestParameters()
    tool = ToolDefinition(
        name=_ANSWER,
        description="Give the answer.",
        parameters_json_schema=prompt.schema,
        kind="output",
    )
    return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)


def _answer(response: ModelResponse) -> str:
    """The answer's JSON if it came as a tool call, else its text; the caller checks either."""
    from pydantic_ai.messages import TextPart, ToolCallPart

    for part in response.parts:
        if isinstance(part, ToolCallPart) and part.tool_name == _ANSWER:
            return part.args_as_json_str()
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))
