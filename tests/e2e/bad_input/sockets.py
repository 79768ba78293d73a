"""What no HTTP library would send."""

from tests.e2e.bad_input.kinds import Raw

_PUT = b"PUT /v1/documents/bad/socket HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"

TABLE = {
    "Connections": (
        Raw("no HTTP at all", b"\x16\x03\x01\x02\x00\x01 hello\r\n\r\n", 400, "not HTTP"),
        Raw("header without a name", b"GET /healthz HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400, "not HTTP"),
        Raw("address that is not ASCII", b"GET /v1/documents/\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400, "not HTTP"),
        Raw("length that is no number", _PUT + b"Content-Length: many\r\n\r\nx", 400, "not HTTP"),
        Raw("length below nothing", _PUT + b"Content-Length: -1\r\n\r\nx", 400, "not HTTP"),
        Raw("length and chunks both", _PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "not HTTP"),
        Raw("chunk whose size is no number", _PUT + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", 400, "not HTTP"),
        Raw("header of 100 KiB", b"GET /healthz HTTP/1.1\r\nHost: h\r\nX-Big: " + b"x" * 102_400 + b"\r\n\r\n", 431, "65536 bytes"),
        Raw("address of 100 KiB", b"GET /" + b"a" * 102_400 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431, "65536 bytes"),
        Raw("header that never ends", b"GET /healthz HTTP/1.1\r\nX-Big: " + b"x" * 300_000, 431, "65536 bytes"),
        Raw("length over the limit", _PUT + b"Content-Length: 99999999999\r\n\r\nx", 413, "8384512 bytes"),
        Raw("head that stops", b"GET /healthz HTTP/1.1\r\nHost:", 408, "head was not complete", slow=True),
        Raw("body that stops", _PUT + b"Content-Length: 100\r\n\r\nabc", 408, "no byte of the body came", slow=True),
    )
}  # fmt: skip
