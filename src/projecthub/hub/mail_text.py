"""What people write into mail: text. Other clients send HTML, of which only the text is kept.

The hub sends no HTML that it has not written: mail in its name must not look like something else.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

_TAG: Final = re.compile(r"<[a-zA-Z/!]")
_BREAKING: Final = frozenset({"p", "br", "div", "li", "tr", "table", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4"})
_UNSEEN: Final = frozenset({"script", "style", "head", "title"})
_BLANK_LINES: Final = re.compile(r"\s*\n\s*\n\s*")


class _Text(HTMLParser):
    """Gathers the text of HTML, with breaks where a browser would have some, and the targets of links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0
        self._target: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BREAKING:
            self.parts.append("\n")
        self._unseen += tag in _UNSEEN
        if tag == "a":
            self._target = dict(attrs).get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BREAKING:
            self.parts.append("\n")
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        if tag == "a" and self._target:
            self.parts.append(f" ({self._target})")
            self._target = None

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def plain(text: str) -> str:
    """The text of a message that may be HTML, without control characters."""
    if _TAG.search(text):
        parser = _Text()
        parser.feed(text)
        parser.close()
        text = "".join(parser.parts)
    shown = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
    return _BLANK_LINES.sub("\n\n", shown).strip()
