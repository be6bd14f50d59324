"""The page builder: escaping, structure, nothing from outside."""
import re

import pytest

from core.errors import OutputError
from core.report import Markup, Page, bullets, code, facts, figure, number, table, tag, text
from tests.pages import parsed, stored_pictures


def test_tag_escapes_text_and_attributes_but_not_markup():
    made = tag("p", "a < b & 'c'", tag("b", "<i>"), None, title='"><script>', class_="x", data_full=3, hidden=False)
    assert made == ('<p title="&quot;&gt;&lt;script&gt;" class="x" data-full="3">a &lt; b &amp; &#x27;c&#x27;'
                    "<b>&lt;i&gt;</b></p>")
    assert tag("img", src="x") == '<img src="x"/>'
    assert tag("stage", autofocus=True) == "<stage autofocus></stage>"


def test_content_must_be_markup():
    page = Page("title")
    with pytest.raises(ValueError, match="unescaped"):
        page.section("part", "<b>not escaped</b>")


@pytest.mark.parametrize(("value", "shown"), [
    (0, "0"), (7, "7"), (12345, "12\u202f345"), (0.1234, "0.12"), (123.4, "123"), (float("nan"), "–"), (1e-7, "1e-07"),
    (-1500, "-1\u202f500"), (3.0, "3")])
def test_number(value, shown):
    assert number(value) == shown


def test_page_is_whole_and_asks_for_nothing_outside(tmp_path):
    page = Page("<html> & 'Größe'", under="a < b")
    page.section("Über <uns>", text("x < y", note=True), facts([("<n>", "<v>")]), code("a && b < c"), None)
    rows = [["<td>", 3, "a"], ["b", 0, None]]
    page.section("Table", table(["class", "count", "other"], rows, total=["all", 3, None]))
    page.section("More", bullets(["<li>"]), figure(tag("svg"), "<title>", "caption"), bullets([]))
    page.picture("</script><b>", "data:image/png;base64,AAAA")
    path = page.write(tmp_path / "page.html")
    content = path.read_text(encoding="utf-8")
    found = parsed(content)
    assert content.startswith("<!DOCTYPE html>")
    assert found.tags["html"] == found.tags["main"] == found.tags["h1"] == found.tags["table"] == 1
    assert found.tags["script"] == 2
    assert found.tags["b"] == found.tags["uns"] == found.tags["v"] == 0
    assert stored_pictures(content) == {"</script><b>": "data:image/png;base64,AAAA"}
    assert not re.search(r"https?:|//[a-z]|@import|url\(", content)
    assert all(value.startswith(("#", "data:")) for value in found.values("href") + found.values("src"))
    links = {value[1:] for value in found.values("href") if value != "#"}
    assert links <= set(found.values("id"))


def test_table_aligns_numbers_and_quiets_zeros():
    made = table(["name", "count"], [["a", 1234], ["b", 0]])
    assert '<td class="n">1\u202f234</td>' in made
    assert '<td class="n zero">·</td>' in made
    assert '<th scope="col" class="n">count</th>' in made


def test_pages_are_equal_byte_for_byte():
    def page():
        made = Page("title")
        made.section("one", text("x"))
        for key in ("b", "a"):
            made.picture(key, "data:,")
        return made.render()
    assert page() == page()


def test_figure_of_nothing_is_left_out():
    assert figure(None, "title") is None
    assert isinstance(figure(tag("svg"), "title"), Markup)


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    with pytest.raises(OutputError, match=r"page\.html"):
        Page("title").write(tmp_path / "absent" / "page.html")
