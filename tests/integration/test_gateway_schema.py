"""The OpenAPI document is true: requests made from it, good and bad, get only the answers it describes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from common.agents.kinds import KINDS
from tests.support.gateway.world import GatewayWorld, world
from tests.support.seeds import seed

__all__ = ["world"]

SECONDS = 600
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)


# The one kind of which CI also tries the bounds of every field; soak tries those of all kinds.
BOUNDS_OF = "code-auditor"


# So many for each operation and phase.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [3, pytest.param(24, marks=pytest.mark.soak)])
async def test_schemathesis_finds_no_fault(examples: int, world: GatewayWorld, tmp_path: Path) -> None:
    """A bounded run over every operation but the endless stream, with the seed printed."""
    in_small = examples == 3
    (asks, _), sleeps = await world.asking(), await world.start()
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        f'[parameters]\nid = "{asks}"\n'
        + "[checks]\nenabled = false\n"
        + "".join(f"{check}.enabled = true\n" for check in CHECKS)
        + '[[operations]]\ninclude-path = "/agents/{id}/cancel"\n'
        + f'parameters = {{ id = "{sleeps}" }}\n'
        # Beyond what a schema can say: a no has a reason.
        + "".join(
            f'[[operations]]\ninclude-path = "{path}"\nchecks.positive_data_acceptance.enabled = false\n'
            for path in ("/agents/{id}/decisions", "/batches/{id}/decisions")
        )
        # Likewise: a quorum is no larger than the people named, and a day there is.
        + "".join(
            f'[[operations]]\ninclude-path = "/agents{kind}"\n'
            "checks.positive_data_acceptance.enabled = false\n"
            + ("phases.coverage.enabled = false\n" if in_small and kind not in ("", f"/{BOUNDS_OF}") else "")
            for kind in ("", *(f"/{kind}" for kind in KINDS))
        )
    )
    command = [
        *(
            "--config-file",
            str(config),
            "run",
            f"{world.address}/openapi.json",
            "--seed",
            str(seed("SCHEMATHESIS_SEED")),
        ),
        *("--max-examples", str(examples), "--workers", "1", "--request-timeout", "30"),
        *("--header", "Authorization: Bearer local-owner", "--exclude-path", "/agents/{id}/events"),
        *("--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"),
        # An amount is a narrow pattern, and a machine may be busy.
        "--suppress-health-check=filter_too_much,too_slow",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; from schemathesis.cli import schemathesis; schemathesis()",
        *command,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, out.decode()[-12_000:]
    print(out.decode()[-600:])


async def test_the_document_is_whole(world: GatewayWorld) -> None:
    """Every reference leads somewhere, and every route says what it is, what it answers, and in what form."""
    document = (await world.http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.rpartition("/")[2] in schemas, reference
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["description"], path
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"]["$ref"].endswith("ProblemDocument")
    assert "carried" not in json.dumps(document["paths"]["/agents/code-auditor"])


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in _references(value)]
    return [each for value in part for each in _references(value)] if isinstance(part, list) else []
