"""The Web UI of `starter.py dev` in a real browser: decoded once signed in, and closed to other pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from common.agents.auditor import AuditInput
from common.approval.signing import Signer
from common.client.client import AgentClient
from common.settings import Settings
from common.temporal.connect import connect
from tests.support.browser import chromium
from tests.support.dev import dev
from tests.support.web import Route, WebServer

# What a page can try, with the visitor's cookies, and what it can read of each answer.
TRY = """async ([ui, http, id]) => {
  const outcomes = {};
  const attempt = async (name, address, options) => {
    try {
      const answer = await fetch(address, {credentials: "include", ...options});
      outcomes[name] = answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`;
    } catch (error) { outcomes[name] = "blocked"; }
  };
  const payloads = JSON.stringify({payloads: [{metadata: {}, data: ""}]});
  const terminate = `${ui}/api/v1/namespaces/default/workflows/${id}/terminate`;
  await attempt("list", `${ui}/api/v1/namespaces/default/workflows`);
  await attempt("codec", `${ui}/codec/decode`, {method: "POST", body: payloads});
  await attempt("gateway codec", `${http}/codec/decode`, {method: "POST", body: payloads});
  await attempt("agent", `${http}/ui/agents/${id}`);
  await attempt("terminate", terminate, {method: "POST", mode: "no-cors", body: "{}"});
  await attempt("csrf", terminate, {method: "POST", headers: {"X-CSRF-Token": "x"}, body: "{}"});
  return outcomes;
}"""


async def test_one_sign_in_shows_what_is_encrypted_and_only_there(tmp_path: Path, shots: Path) -> None:
    """Nothing is copied into the Web UI; a page at another port, or under another name, gets nothing."""
    code = tmp_path / "zebra-secret"
    code.mkdir()
    (code / "a.py").write_text("import os\nimport sys\nprint(sys)\n")
    with WebServer({"/": Route("<title>elsewhere</title>")}) as elsewhere:
        await _visit(tmp_path, shots, elsewhere.url("/"))


async def _visit(tmp_path: Path, shots: Path, foreign: str) -> None:
    async with chromium() as browser, dev(tmp_path / "data") as stack:
        await stack.hears("ready;")
        address = json.loads((stack.folder / "stack.json").read_text())
        ui, http = address["ui"], address["http"]
        [token] = re.findall(r"token: (\S+)", stack.said)
        settings = Settings.read({"HIBERNAUT_DATA_DIR": str(stack.folder)})
        with pytest.MonkeyPatch.context() as patch:  # others of this process may have named another server
            patch.setenv("TEMPORAL_ADDRESS", address["temporal"])
            agents = AgentClient(await connect(settings), settings, Signer.load(settings))
        id = await agents.start(
            "code-auditor", AuditInput(path=str(tmp_path / "zebra-secret"), apply=True), owner="local"
        )
        page = await (await browser.new_context(viewport={"width": 1400, "height": 1000})).new_page()
        await page.goto(f"{ui}/namespaces/default/workflows/{id}")
        assert page.url == f"{http}/ui/sign-in", "nobody has signed in"
        await page.get_by_label("Token").fill(token)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Inbox").wait_for()
        await page.goto(f"{ui}/namespaces/default/workflows/{id}")
        await page.get_by_text("zebra-secret").first.wait_for()
        await page.get_by_text("User Metadata").click()
        said = page.frame_locator("iframe").first.get_by_text("Audit of zebra-secret")
        await said.wait_for()
        await page.screenshot(path=shots / "dev-web-ui.png")
        for elsewhere in (foreign, foreign.replace("127.0.0.1", "localhost")):
            await page.goto(elsewhere)
            assert await page.title() == "elsewhere"
            outcomes = await page.evaluate(TRY, [ui, http, id])
            taken = outcomes.pop("terminate")
            assert set(outcomes.values()) == {"blocked"}, outcomes
            assert taken in ("opaque", "blocked")
        assert (await agents.view(id)).running
