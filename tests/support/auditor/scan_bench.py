"""A tree with its inventory, and scans of it as Temporal would run them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.auditor.records import (
    FileFindings,
    Inventory,
    InventoryRequest,
    ScanRequest,
    ShardFindings,
    get_records,
)
from activities.auditor.scan.inventory import CodeInventory
from activities.auditor.scan.listing import list_files
from activities.auditor.scan.shard import CodeScan
from common.agents.agent import Progress
from common.artifacts import ArtifactRef, ArtifactStore
from common.object_store import FolderStore


class ScanBench:
    """A tree with its inventory, and scans of it as Temporal would run them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "code"
        self.root.mkdir()
        self.store = ArtifactStore(FolderStore(folder / "artifacts"))
        self.objects = FolderStore(folder / "journals")
        self.scan = CodeScan(self.store, self.objects)
        self.beats: list[Progress] = []

    def write(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(content)

    def request(self, first: int = 0, last: int = 1_000_000) -> ScanRequest:
        inventory = self.inventory()
        return ScanRequest(root=inventory.root, listing=inventory.listing, first=first, last=last)

    def inventory(self) -> Inventory:
        request = InventoryRequest(root=str(self.root), max_file_bytes=1_000_000)
        inventory: Inventory = ActivityEnvironment().run(
            # In this process: a separate one is tested elsewhere, and takes half a second.
            CodeInventory(self.store, list_files).take_inventory,
            request,
        )
        return inventory

    def environment(self, **info: Any) -> ActivityEnvironment:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, **info)
        environment.on_heartbeat = self.beats.append
        return environment

    def run(self, request: ScanRequest, **info: Any) -> ShardFindings:
        found: ShardFindings = self.environment(**info).run(self.scan.scan_shard, request)
        return found

    def records(self, ref: ArtifactRef) -> list[FileFindings]:
        return list(get_records(self.store, ref, FileFindings))

    def journal(self, what: str = "batch-") -> list[str]:
        """The keys of the finished batches, or of the attempts, in order."""
        return [each.key for each in self.objects.list("") if f"/{what}" in each.key]

    def attempts(self) -> list[dict[str, int]]:
        return [json.loads(self.objects.get(key)) for key in self.journal("attempt-")]
