"""Reads HTML pages in tests: structure, links and what is stored in them."""
import json
import re
from collections import Counter
from html.parser import HTMLParser

from core.report import VOID


class Structure(HTMLParser):
    """Counts tags, collects attributes and text, and fails where a tag is closed that is not the last one open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], Counter(), [], []

    def handle_starttag(self, name, attributes):
        self.tags[name] += 1
        self.attributes.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags[name] += 1
        self.attributes.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open, f"</{name}> closes nothing"
        assert self.open.pop() == name

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, attribute):
        return [found[attribute] for _, found in self.attributes if attribute in found]


def parsed(page: str) -> Structure:
    """Parse a page or a part of one; everything that is opened must be closed."""
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    return structure


def stored_pictures(page: str) -> dict[str, str]:
    return json.loads(re.search(r'id="pictures">(.*?)</script>', page, re.DOTALL)[1])
