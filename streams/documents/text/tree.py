"""HTML to lexbor's tree, within bounds: as HTML5 demands, lexbor takes time and memory by tags times nesting.

Found with selectolax 1.0.2: 200,000 nested ``<div>`` take minutes; 100 KB of unclosed ``<b a=1><b a=2>...`` before
``<p>x<p>x...`` become 40 million elements.
"""

import re
from itertools import islice

from selectolax.lexbor import LexborHTMLParser, LexborNode

from streams.documents.refused import Refused

MAX_NESTING = 512  # as in Chromium
MAX_TAGS = 400_000  # 4 MB of ordinary pages have half of that at most
_STRIDE = 40_000  # so many tags can at worst nest within seconds
_START = re.compile(r"<[A-Za-z]")
# Elements that HTML opens again in every block after the one they were left open in; other names it does not.
_REOPENED = re.compile(r"<(/?)(?=(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s/>])", re.IGNORECASE)


def build_tree(text: str) -> LexborHTMLParser:
    """The whole tree; refuses what is nested too deep as soon as the beginning of the text shows it."""
    text = _REOPENED.sub(r"<\1x-", text)
    ends = [start.start() for start in islice(_START.finditer(text), _STRIDE, None, _STRIDE)]
    if len(ends) * _STRIDE >= MAX_TAGS:
        raise Refused(f"it has more than {MAX_TAGS} tags: divide it")
    for end in ends:
        _check(LexborHTMLParser(text[:end], scripting=True))
    tree = LexborHTMLParser(text, scripting=True)
    _check(tree)
    return tree


def _check(tree: LexborHTMLParser) -> None:
    node, depth = tree.root, 0
    above: list[LexborNode] = []
    inside: list[tuple[LexborNode, int]] = []  # of templates, whose content stands beside the tree
    while node is not None:
        if node.tag == "template":
            inside += ((part, len(above) + depth) for part in node.template_fragments())
        child = node.first_child
        if child is not None:
            above.append(node)
            if len(above) + depth > MAX_NESTING:
                raise Refused(f"its elements are nested more than {MAX_NESTING} deep: is every one closed?")
        node = child or node.next
        while node is None and above:
            node = above.pop().next
        if node is None and inside:
            node, depth = inside.pop()
