"""Text, Markdown and HTML become the same kinds of blocks."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.documents.refused import Refused
from streams.documents.text.blocks import Block
from streams.documents.text.parse import parse

KINDS = ["text/plain", "text/markdown", "text/html"]


def blocks(text: str, media_type: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in parse(text, media_type).blocks]


MARKDOWN = """---
title: "Named in front"
tags: [a]
---
# Install `it`

With *em*, [a link](http://x), ![a picture](u.png), snake_case, <file> &amp; a<br>b <span>s</span>.

## Linux

- one
  more
- two
  1. inner

```sh
run  it

now
```

| A | B |
|---|---|
| 1 | `2` |

<div><script>gone()</script><p>html <b>para</b></p></div>
"""

HTML = """<!doctype html><html><head><title>My &amp; Page</title><style>p {}</style></head><body><nav>NAV</nav>
<h1>Install</h1><p>First <b>para</b>graph
goes on.<p>Second<br>line <span hidden>HID</span> &lt;tag&gt;
<ul><li>one<li>two <ul><li>in</ul></ul><h2>Linux</h3><pre>code
   indented</pre><table><caption>Cap</caption><tr><th>A<th>B<tr><td>1<td><p>2</table>
<div style="display: none">GONE<p>too</div><!-- GONE --><![GONE[x]><p hidden>GONE<p>Seen 1 < 2 &#8364;
<script>if (a < b) GONE</script></body></html>"""

MANUAL = """NAME
       ls - list

SEE ALSO
       The manual. IT IS
       LONG.

Under line
==========
Its text.
"""


def test_markdown() -> None:
    """Marks go, words, code and order stay, headings make sections."""
    parsed = parse(MARKDOWN, "text/markdown")
    assert parsed.title == "Named in front"
    assert blocks(MARKDOWN, "text/markdown") == [
        ("heading", "Install it"),
        ("paragraph", "With em, a link, a picture, snake_case, <file> & a\nb s."),
        ("heading", "Linux"),
        ("list", "- one\n  more\n- two\n  1. inner"),
        ("code", "run  it\n\nnow"),
        ("table", "A | B\n1 | 2"),
        ("paragraph", "html para"),
    ]
    assert [block.section for block in parsed.blocks][1:4] == ["Install it", "Install it > Linux", "Install it > Linux"]
    assert parsed.blocks[2] == Block("heading", "Linux", 2, "Install it > Linux")


def test_html() -> None:
    """What a reader sees is kept in order; scripts, styles, navigation and hidden parts are not."""
    parsed = parse(HTML, "text/html")
    assert parsed.title == "My & Page"
    assert blocks(HTML, "text/html") == [
        ("heading", "Install"),
        ("paragraph", "First paragraph goes on."),
        ("paragraph", "Second\nline <tag>"),
        ("list", "- one\n- two\n  - in"),
        ("heading", "Linux"),
        ("code", "code\n   indented"),
        ("paragraph", "Cap"),
        ("table", "A | B\n1 | 2"),
        ("paragraph", "Seen 1 < 2 €"),
    ]
    assert parsed.blocks[-1].section == "Install > Linux"


def test_plain_text() -> None:
    """Paragraphs end at blank lines; headings of manual pages and underlined ones are seen."""
    assert blocks(MANUAL, "text/plain") == [
        ("heading", "NAME"),
        ("paragraph", "ls - list"),
        ("heading", "SEE ALSO"),
        ("paragraph", "The manual. IT IS\n       LONG."),
        ("heading", "Under line"),
        ("paragraph", "Its text."),
    ]


@pytest.mark.parametrize(
    ("text", "media_type", "title"),
    [
        ("a\n\n## First\n\n# Second", "text/markdown", "First"),
        ("<p>a<h2>First</h2>", "text/html", "First"),
        ("<svg><title>Icon</title></svg><p>a", "text/html", None),
        ("no heading", "text/plain", None),
        ("# " + "long " * 90, "text/markdown", ("long " * 90)[:300]),
    ],
)
def test_title(text: str, media_type: str, title: str | None) -> None:
    """A document without a title is called by its first heading."""
    assert parse(text, media_type).title == title


@pytest.mark.parametrize("media_type", KINDS)
@pytest.mark.parametrize("text", ["", " \n\t\r\n", "--- *** !!!", "<!-- -->", "\u200b", "🎉"])
def test_no_words(text: str, media_type: str) -> None:
    """A text without words is refused."""
    if text == "<!-- -->" and media_type == "text/plain":
        text = "<-- -->"
    with pytest.raises(Refused, match="no words"):
        parse(text, media_type)


@given(st.lists(st.text(st.characters(whitelist_categories=["L", "N"]), min_size=1), min_size=1), st.data())
def test_words_stay_in_order(words: list[str], data: st.DataObject) -> None:
    """Whatever tags or marks stand between words, every word comes out once and in order."""
    marks = (
        "<p> </p> <li> <ul> </ul> <table><tr><td> <td> <tr><td> </table> <h2> </h2> <b> <pre> </pre> <div> </div> <dl>"
        " <dt> <!--x--> <br> <ol> <hr> </ol> <caption> </li> <th> <h1> </h3> </dt> <section> </section>"
    )
    tags = st.sampled_from(marks.split())
    page = "".join(f"{data.draw(tags)} {word} " for word in words)
    found = " ".join(text for _, text in blocks(page, "text/html"))
    shown = [
        word for word in found.split() if word not in ("-", "|") and not (word[:-1].isdecimal() and word[-1] == ".")
    ]
    assert shown == " ".join(words).split()


@given(st.text(st.sampled_from("<>/!-?&#;\"' =ap\n[]()*_`|:.1~\\\t") | st.characters(codec="utf-8"), max_size=300))
def test_no_text_crashes_it(text: str) -> None:
    """Any text becomes blocks or is refused, as any media type."""
    for media_type in KINDS:
        try:
            assert all(block.text.strip() for block in parse(text, media_type).blocks)
        except Refused as refused:
            assert "no words" in refused.reason


LARGE = 1_000_000
HOSTILE = {
    "one line": "word " * (LARGE // 5),
    "one word": "x" * LARGE,
    "four megabytes": "A sentence of some words; and a *second* one.\n" * 90_000,
    "paragraphs": "A sentence of some words.\n\n" * (LARGE // 27),
    "deep quotes": ">" * LARGE + " a",
    "open brackets": "a[" * (LARGE // 2),
    "open links": ("![" * 900 + "a\n\n") * (LARGE // 3600),
    "open comments": "a" + "<!--" * (LARGE // 4),
    "open tags": "a" + "<a " * 390_000,
    "open quotes": 'a<b "' * (LARGE // 5) + ">",
    "open scripts": "a" + "<script>" * (LARGE // 8),
    "deep lists": "".join(" " * n + "- a\n" for n in range(1500)),
    "blank lines": "a" + " \n" * (LARGE // 2) + "b",
    "many tags": "<li>a" * 199_999 + "<p>b" * 199_999,
    "giant reference": "<p>&#" + "9" * LARGE + "; a",
    "stars": "a*b **c _d " * (LARGE // 44),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_large_and_hostile(name: str) -> None:
    """Megabytes of any shape are parsed in seconds and without overflow."""
    text = HOSTILE[name]
    media_types = ["text/plain", "text/html"] if "<" in text else KINDS[:2]
    begun = time.process_time()
    for media_type in media_types:
        assert parse(text, media_type).blocks
    assert time.process_time() - begun < 10  # quadratic time would take many minutes


TANGLED = {
    "deep elements": "<div>" * (LARGE // 5) + "a",
    "closed by others": "<div>" * (LARGE // 9) + "</x>" * (LARGE // 9) + "a",
    "open lists": "<li><ul>a" * (LARGE // 9),
    "hidden in a template": "<template>" + "<div>" * (LARGE // 5),
    "moved out of a table": "<table>" + "<div>" * (LARGE // 5),
    "links around blocks": "<a><div>" * (LARGE // 8),
    "marks left open": "".join(f"<b a={n}>" for n in range(2000)) + "<p>x" * 20_000,
}


@pytest.mark.parametrize("name", TANGLED)
def test_tangled_markup_is_refused(name: str) -> None:
    """What would take the tree builder minutes or gigabytes is refused in seconds."""
    begun = time.process_time()
    with pytest.raises(Refused, match="nested more than 512 deep"):
        parse(TANGLED[name], "text/html")
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("tags", ["<p>a", "<a "])
def test_too_many_tags_are_refused(tags: str) -> None:
    """Megabytes of nothing but tags are no document."""
    with pytest.raises(Refused, match="more than 400000 tags"):
        parse(tags * 500_000, "text/html")


def test_deep_html_keeps_its_words() -> None:
    """Elements nested as deep as browsers let them."""
    page = "".join(f"<div>w{depth} " for depth in range(500))
    assert " ".join(text for _, text in blocks(page, "text/html")).split() == [f"w{depth}" for depth in range(500)]


def test_marks_left_open_are_no_words() -> None:
    """Inline marks go wherever they stand; a title shows them, as HTML has it."""
    page = "<title>The <b> tag</title><p><b>One <i>two</b> three</i><p>four</b> <code>five</code>"
    assert parse(page, "text/html").title == "The <b> tag"
    assert blocks(page, "text/html") == [("paragraph", "One two three"), ("paragraph", "four five")]


def test_deep_markdown_keeps_its_words() -> None:
    """Lists nested deeper than the parser goes lose no word."""
    text = "\n".join("  " * depth + f"- item{depth}" for depth in range(200))
    found = "\n".join(block.text for block in parse(text, "text/markdown").blocks)
    assert all(f"item{depth}" in found.split() for depth in range(200))


def test_long_tables_repeat_their_header() -> None:
    """A long Markdown table is several blocks, each with the header on top."""
    rows = "\n".join(f"| heron {n} | seen at the river number {n} |" for n in range(300))
    found = blocks(f"| bird | where |\n|---|---|\n{rows}\n", "text/markdown")
    assert len(found) > 5 and all(text.startswith("bird | where\nheron ") for _, text in found)
    assert sum(text.count("\n") for _, text in found) == 300
