"""Ids that are easily taken for one another."""

# Different documents that careless keys would take for one.
LOOKALIKES = [
    *(
        "a",
        "A",
        "a/",
        "/a",
        "a//b",
        "a/b",
        "a#1",
        "a%2Fb",
        "a%2fb",
        "a%23",
        "@a",
        "@acme/a",
        "a|b",
        "a:b",
        "a,b",
        "{a}",
    ),
    *("caf\u00e9", "cafe\u0301", "\u212b", "\u00c5", "a b", " a", "a ", "\U0001f600", "\ufeffa", "x" * 1024),
]
