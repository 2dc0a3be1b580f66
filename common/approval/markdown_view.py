"""Markdown as harmless HTML: no HTML of its own, no pictures, and links that say where they lead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup, escape

from common.visible_text import visible

# Longer text is not parsed.
MAX_CHARACTERS = 200_000


def markdown_html(text: str) -> Markup:
    """The HTML of `text`, which may come from anybody; a text that is too long is not parsed."""
    if len(text) > MAX_CHARACTERS:
        return escape(visible(text))
    return Markup(_parser().render(text))  # noqa: S704 -- the parser lets no HTML of the text through


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    # No link reference definitions: they render as nothing, so their content would be invisible.
    parser.enable(["table", "strikethrough"]).disable(["image", "reference"])
    parser.validateLink = lambda url: url.lower().startswith(("http://", "https://"))  # type: ignore[method-assign]
    parser.core.ruler.push("plainly", _plainly)
    parser.add_render_rule("link_open", _open_link)
    return parser


def _plainly(state: StateCore) -> None:
    """Make headings no larger than text, everything visible, and add its address after each link."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "p"
            if token.nesting == 1:
                token.attrSet("class", "heading")
        token.attrs.pop("style", None)  # the alignment of cells; pages allow no inline styles
        token.content = visible(token.content)
        if token.children:
            token.children = _with_addresses(token.children)


def _with_addresses(tokens: Sequence[Token]) -> list[Token]:
    found, address, words = list[Token](), "", ""
    for token in tokens:
        token.content = visible(token.content)
        words += token.content
        found.append(token)
        if token.type == "link_open":
            address, words = str(token.attrGet("href") or ""), ""
            token.attrs.pop("title", None)
        elif token.type == "link_close" and words != address:
            found.append(Token("text", "", 0, content=f" ({address})"))
    return found


def _open_link(self: RendererHTML, tokens: Sequence[Token], place: int, options: object, env: object) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    return self.renderToken(tokens, place, options, env)  # type: ignore[arg-type]
