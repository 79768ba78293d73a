"""HTML's elements by what they mean for the text in them."""


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


VOID = _names("area base br col embed hr img input link meta param source track wbr")
UNSEEN = _names(
    "script style nav noscript template svg math iframe object canvas audio video select textarea"  # never read as text
)
HEADINGS = _names("h1 h2 h3 h4 h5 h6")
BLOCKS = _names(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure footer"
    " form header hgroup hr html legend main ol p pre section summary table tbody tfoot thead ul"
)
INLINE = _names(
    "a abbr acronym b bdi bdo big button cite code data del dfn em font i ins kbd label mark meter picture q s samp"
    " small span strike strong sub sup time tt u var"
)
BREAKING = BLOCKS | HEADINGS | _names("li tr td th")
KNOWN = VOID | UNSEEN | INLINE | BREAKING | _names("head title")
