"""The OpenAPI document as a page, rendered here because the usual viewers load scripts from other hosts."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.pages import page

router = APIRouter()

METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Every route with its parameters, body and responses."""
    document = request.app.openapi()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if operation := operations.get(method):
                tag = operation.get("tags", ["other"])[0]
                groups.setdefault(tag, []).append(_shown(method, path, operation, document))
    return page(request, "docs.html", document=document, groups=groups)


def _shown(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = next((each.get("schema", {}) for each in content.values()), None)
    name = str((schema or {}).get("$ref", "")).rpartition("/")[2]
    if name:
        schema = document["components"]["schemas"][name]
    return {
        "method": method.upper(),
        "path": path,
        "words": operation.get("description", operation.get("summary", "")),
        "parameters": [
            (each["name"], each["in"], each.get("description", ""))
            for each in operation.get("parameters", ())
        ],
        "body": json.dumps(schema, indent=2) if schema else "",
        "answers": [
            (status, answer.get("description", "")) for status, answer in operation["responses"].items()
        ],
    }
