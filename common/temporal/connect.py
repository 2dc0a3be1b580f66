"""The only `Client.connect`: the address, data converter and retries of every client of this program."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, Interceptor
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RetryConfig, RPCError

from common.object_store import open_store
from common.settings import Settings, SettingsError
from common.telemetry.spans import client_interceptors
from common.temporal.codec import EncryptingCodec, load_codec
from common.temporal.connect_errors import why_connect_failed
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

    `roots` are the folders that its agents may use if the operator named none; `process` is the stack's
    process id, 0 if unknown.
    """

    temporal: str
    ui: str
    http: str = ""
    roots: tuple[str, ...] = ()
    process: int = 0

    @property
    def runs(self) -> bool:
        """Whether the stack still runs; one that was killed leaves its address behind."""
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True

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
            process = int(found.get("process", 0))
            return cls(str(found["temporal"]), str(found["ui"]), str(found.get("http", "")), roots, process)
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Target:
    """The address of Temporal to use, and why; `sure` if it is configured, or the stack there runs."""

    address: str
    why: str
    sure: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Target:
        """The address from `TEMPORAL_*` or Temporal's configuration file, else the stack's or the default.

        Raises:
            SettingsError: `TEMPORAL_*` cannot be used.
        """
        if address := _configured().get("target_host"):
            from_variable = _configured(disable_file=True).get("target_host")
            return cls(address, "TEMPORAL_ADDRESS" if from_variable else "Temporal's configuration file")
        if stack := StackAddress.find(settings):
            where = f"the stack on {settings.data_dir}"
            return cls(stack.temporal, where if stack.runs else f"left behind by {where}", stack.runs)
        return cls(DEFAULT_ADDRESS, f"the default, for no stack runs on {settings.data_dir}", sure=False)


async def connect(
    settings: Settings,
    *,
    patience: timedelta = PATIENCE,
    lazy: bool = False,
    proxy: WaitingProxy | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """A client of the configured Temporal service.

    `Target.of` says at which address.

    Args:
        settings: this process's settings.
        patience: how long each call is retried through an outage.
        lazy: connect with the first call.
        proxy: with one, calls and polls wait while the server is away, and go out once it is back.
        interceptors: client interceptors.

    Raises:
        CannotConnectError: nothing answers there, or one side does not take the other's certificate.
        SettingsError: encryption is asked for and its keys cannot be read, or `TEMPORAL_*` cannot be used.
    """
    target = Target.of(settings)
    config: ClientConnectConfig = {**_configured(), "target_host": target.address}
    try:
        return await Client.connect(
            **config,
            http_connect_proxy_config=await proxy.start() if proxy else None,
            data_converter=data_converter(settings),
            header_codec_behavior=HeaderCodecBehavior.CODEC,
            interceptors=[*client_interceptors(settings), *interceptors],
            lazy=lazy,
            retry_config=RetryConfig(
                max_elapsed_time_millis=int(patience.total_seconds() * 1000), max_retries=10_000
            ),
        )
    except (RPCError, RuntimeError) as error:
        why = why_connect_failed(error, config.get("tls"))
        raise CannotConnectError(
            f"cannot reach Temporal at {target.address} ({target.why}): {why}."
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


def _configured(*, disable_file: bool = False) -> ClientConnectConfig:
    try:
        return ClientConfig.load_client_connect_config(disable_file=disable_file)
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(f"TEMPORAL_* and Temporal's configuration file: {error}.") from error
