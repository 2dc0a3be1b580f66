"""The seam to language models. Only what is light is handed out here; providers load when one is called."""

from activities.llm.offline import OfflineAnalyst, language_model
from activities.llm.records import (
    OFFLINE,
    LanguageModel,
    ModelItem,
    ModelReply,
    ModelRequest,
    Quote,
    RankedItem,
)

__all__ = [
    "OFFLINE",
    "LanguageModel",
    "ModelItem",
    "ModelReply",
    "ModelRequest",
    "OfflineAnalyst",
    "Quote",
    "RankedItem",
    "language_model",
]
