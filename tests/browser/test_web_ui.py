"""Temporal's own Web UI, in a real browser, with what the archive gives back."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.archive import archive_restore
from cli.dev_server import free_port
from tests.support.archive.stage import archive_stage
from tests.support.browser import chromium


async def test_a_restored_history_is_imported(
    tmp_path: Path, shots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `archive restore` writes of an agent that is gone from Temporal is shown there event by event."""
    port = free_port()
    async with chromium() as browser, archive_stage(tmp_path, monkeypatch, ui_port=port) as stage:
        handle = await stage.kept(say="a word to find again", steps=2)
        assert (await stage.archive()).archived == 1
        stage.handles = []
        restored = tmp_path / "history.json"
        await archive_restore(stage.settings, handle.id, restored, None, readable=True)
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{port}/import")
        await page.locator("input[type=file]").set_input_files(restored)
        await page.get_by_role("button", name="Import", exact=True).click()
        await page.get_by_text("Workflow Execution Completed").first.wait_for()
        await page.screenshot(path=shots / "imported.png", full_page=True)
        await page.get_by_text("JSON", exact=True).click()
        await page.get_by_text("a word to find again").first.wait_for()
