"""The only `Client.connect`: the address, data converter and retries of every client of this program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, Interceptor
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.service import RetryConfig, RPCError

from common.object_store import open_store
from common.settings import Settings
from common.temporal.codec import EncryptingCodec, load_codec
from common.temporal.converter import AgentPayloadConverter, EncodedFailures, ShortFailures
from common.temporal.payload_store import PayloadStore
from common.temporal.waiting_proxy import WaitingProxy

DEFAULT_ADDRESS = "localhost:7233"
# The SDK gives up after ten seconds, before a server has restarted or a network has recovered.
PATIENCE = timedelta(minutes=2)


class CannotConnectError(Exception):
    """Temporal cannot be reached; the message says at which address and what to do."""


@dataclass(frozen=True)
class StackAddress:
    """Where the embedded stack listens; `starter.py dev` writes it into the data folder.

    `roots` are the folders that its agents may use, where the operator named none.
    """

    temporal: str
    ui: str
    http: str = ""
    roots: tuple[str, ...] = ()

    @staticmethod
    def file(settings: Settings) -> Path:
        """The file that holds the address while the stack runs."""
        return settings.data_dir / "stack.json"

    @classmethod
    def find(cls, settings: Settings) -> StackAddress | None:
        """The address of this data folder's embedded stack; None if no file of one is there."""
        try:
            found = json.loads(cls.file(settings).read_text())
            roots = tuple(map(str, found.get("roots", ())))
            return cls(str(found["temporal"]), str(found["ui"]), str(found.get("http", "")), roots)
        except (OSError, ValueError, KeyError, TypeError):
            return None


async def connect(
    settings: Settings,
    *,
    patience: timedelta = PATIENCE,
    lazy: bool = False,
    proxy: WaitingProxy | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client of the configured Temporal service.

    The address comes from `TEMPORAL_*` or Temporal's configuration file, else from the embedded stack of this
    data folder; the default is `localhost:7233`.

    Args:
        settings: this process's settings.
        patience: how long each call is retried through an outage.
        lazy: connect with the first call.
        proxy: with one, calls and polls wait while the server is away, and go out once it is back.
        interceptors: client interceptors.

    Raises:
        CannotConnectError: nothing answers there.
        SettingsError: encryption is asked for and its keys cannot be read.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", _stack_or_default(settings))
    target = config["target_host"]
    try:
        return await Client.connect(
            **config,
            http_connect_proxy_config=await proxy.start() if proxy else None,
            data_converter=data_converter(settings),
            header_codec_behavior=HeaderCodecBehavior.CODEC,
            interceptors=interceptors,
            lazy=lazy,
            retry_config=RetryConfig(
                max_elapsed_time_millis=int(patience.total_seconds() * 1000), max_retries=10_000
            ),
        )
    except (RPCError, RuntimeError) as error:
        raise CannotConnectError(
            f"cannot reach Temporal at {target}: start it with `python starter.py dev`, "
            "or set TEMPORAL_ADDRESS to where yours is."
        ) from error


def data_converter(settings: Settings, *, writes: bool = True) -> DataConverter:
    """How values become payloads: as JSON, encrypted if there are keys, in the object store if large.

    Args:
        settings: this process's settings.
        writes: False for a replayer, whose payloads must not be stored.

    Raises:
        SettingsError: encryption is asked for and its keys cannot be read.
    """
    codec = load_codec(settings)
    store = payload_store(settings, codec, writes=writes)
    return DataConverter(
        payload_converter_class=AgentPayloadConverter,
        payload_codec=codec,
        failure_converter_class=EncodedFailures if codec and codec.writes else ShortFailures,
        external_storage=store.storage(),
    )


def payload_store(settings: Settings, codec: EncryptingCodec | None, *, writes: bool = True) -> PayloadStore:
    """The store of large payloads; ``codec`` is the payloads' own."""
    return PayloadStore(
        open_store(settings),
        codec.cipher if codec else None,
        reads_unsigned=codec is None or codec.reads_unsigned,
        writes=writes,
    )


def _stack_or_default(settings: Settings) -> str:
    stack = StackAddress.find(settings)
    return stack.temporal if stack else DEFAULT_ADDRESS
