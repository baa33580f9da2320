"""The cases of messages (RFC 9113, 8), of HPACK (RFC 7541), and those beyond h2spec."""

from http2_cases import *


def malformed(name, about, *fields, end=True, without=(), doubled=None, data=(), trailers=(),
              **named):
    """A case: a request that is refused by a reset of its stream (RFC 9113, 8.1.1)."""
    def run(s):
        c = s.connect()
        all_ = [f for f in c.fields(**named) if f[0] not in without
                for _ in range(2 if f[0] == doubled else 1)]
        c.request(1, fields=all_ + list(fields), end=end and not data)
        for i, piece in enumerate(data):
            last = i == len(data) - 1 and not trailers
            c.frame(DATA, END_STREAM if last else 0, 1, piece)
        if trailers:
            c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(list(trailers)))
        c.expect_reset(1, PROTOCOL_ERROR)
        # What is refused leaves the compression's state as it should be.
        c.request(3)
        c.expect_answer(3)
    CASES.append((name, about, run))


def served(name, about, *fields, without=()):
    """A case: a request that is answered."""
    def run(s):
        c = s.connect()
        c.request(1, fields=[f for f in c.fields() if f[0] not in without] + list(fields))
        c.expect_answer(1)
    CASES.append((name, about, run))


@case("http2/8.1/1", "a second HEADERS without END_STREAM")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(HEADERS, END_HEADERS, 1, c.block([("x-test", "ok")]))
    c.expect_reset(1, PROTOCOL_ERROR)


malformed("http2/8.1.2/1", "a field name in upper case", ("X-TEST", "ok"))
malformed("http2/8.1.2.1/1", "an unknown pseudo-field", (":test", "ok"))
malformed("http2/8.1.2.1/2", "a pseudo-field of answers", (":status", "200"))
malformed("http2/8.1.2.1/3", "a pseudo-field in trailers", method="POST", data=[b"test"],
          trailers=[(":method", "GET")])
malformed("http2/8.1.2.1/4", "a pseudo-field behind a field", ("x-test", "ok"), (":path", "/"),
          without=[":path"])
malformed("http2/8.1.2.2/1", "connection", ("connection", "keep-alive"))
malformed("http2/8.1.2.2/2", "te other than trailers", ("te", "trailers, deflate;q=0.5"))
malformed("http2/8.1.2.3/1", "an empty :path", path="")
malformed("http2/8.1.2.3/2", "no :method", without=[":method"])
malformed("http2/8.1.2.3/3", "no :scheme", without=[":scheme"])
malformed("http2/8.1.2.3/4", "no :path", without=[":path"])
malformed("http2/8.1.2.3/5", ":method twice", doubled=":method")
malformed("http2/8.1.2.3/6", ":scheme twice", doubled=":scheme")
malformed("http2/8.1.2.3/7", ":path twice", doubled=":path")
malformed("http2/8.1.2.6/1", "content-length other than the length of DATA",
          ("content-length", "1"), method="POST", data=[b"test"])
malformed("http2/8.1.2.6/2", "content-length other than the length of several DATA",
          ("content-length", "1"), method="POST", data=[b"test", b"test"])


@case("http2/8.2/1", "PUSH_PROMISE of a client")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST")
    c.frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 3) + c.block(c.fields()))
    c.expect_goaway(PROTOCOL_ERROR)


# MARK: HPACK

def undecodable(name, about, block, behind=True):
    def run(s):
        c = s.connect()
        head = c.block(c.fields())
        c.frame(HEADERS, END_STREAM | END_HEADERS, 1, head + block if behind else block + head)
        c.expect_goaway(COMPRESSION_ERROR)
    CASES.append((name, about, run))


undecodable("hpack/2.3.3/1", "an indexed field with an invalid index", b"\xc6")
undecodable("hpack/2.3.3/2", "a literal with an invalid index", b"\x7f\x07" + string("empty"))
undecodable("hpack/4.2/1", "a table size update at the end of a block", b"\x20")
# The name is `x-test` in Huffman's code; the value's code has bytes added or changed.
NAME = b"\x00" + string("x-test", huffman=True)
undecodable("hpack/5.2/1", "a Huffman string padded with more than 7 bits",
            NAME + b"\x85" + string("test", huffman=True)[1:] + b"\xff\xff")
undecodable("hpack/5.2/2", "a Huffman string padded with zeros",
            NAME + b"\x83" + string("test", huffman=True)[1:3] + b"\x10")
undecodable("hpack/5.2/3", "a Huffman string that holds EOS", NAME + b"\x84\xff\xff\xff\xfc")
undecodable("hpack/6.1/1", "an indexed field with index 0", b"\x80")
undecodable("hpack/6.3/1", "a table size update above SETTINGS_HEADER_TABLE_SIZE",
            b"\x3f\xe1\xff\x03", behind=False)
undecodable("more/hpack/5.1", "an integer that is too large",
            b"\x7f" + b"\xff" * 10 + b"\x01")
undecodable("more/hpack/5.2", "a string longer than its block", NAME + b"\x7f\xff\xff\xff\x07a")

# MARK: Beyond h2spec

BAD_VALUES = {"a NUL": b"a\x00b", "a CR": b"a\rb", "an LF": b"a\nb", "a CR LF": b"a\r\nx-b: c",
              "a blank in front": b" a", "a blank behind": b"a ", "a tab behind": b"a\t",
              "a DEL": b"a\x7f", "a control": b"a\x01"}
for number, (about, value) in enumerate(BAD_VALUES.items()):
    malformed(f"more/8.2.1/{number + 1}", f"a value with {about}", (b"x-test", value))
BAD_NAMES = {"empty": b"", "with a blank": b"x test", "with a colon": b"x:y",
             "with CR LF": b"x\r\ny", "with a NUL": b"x\x00", "beyond ASCII": b"x-\xe4"}
for number, (about, name) in enumerate(BAD_NAMES.items()):
    malformed(f"more/8.2.1/{number + 11}", f"a name that is {about}", (name, b"value"))
for number, field in enumerate([("keep-alive", "1"), ("proxy-connection", "close"),
                                ("transfer-encoding", "chunked"), ("upgrade", "h2c")]):
    malformed(f"more/8.2.2/{number + 1}", field[0], field)
BAD_PATHS = {"with a blank": "/a b", "with CR LF": "/ HTTP/1.1\r\nhost: evil\r\n\r\n",
             "of nothing but *": "*", "that is a URL": "http://evil/", "without a slash": "a/b"}
for number, (about, path) in enumerate(BAD_PATHS.items()):
    malformed(f"more/8.3.1/{number + 1}", f"a :path {about}", path=path)
BAD_AUTHORITIES = {"with user information": "user@test", "with a blank": "te st",
                   "that is empty": "", "with CR LF": "test\r\nx: y", "with a slash": "test/x"}
for number, (about, authority) in enumerate(BAD_AUTHORITIES.items()):
    malformed(f"more/8.3.1/{number + 11}", f"an :authority {about}", authority=authority)
malformed("more/8.3.1/21", "host other than :authority", ("host", "other"))
served("more/8.3.1/22", "host like :authority", ("host", "test"))
served("more/8.3.1/23", "host instead of :authority", ("host", "test"), without=[":authority"])
malformed("more/8.3.1/24", "neither host nor :authority", without=[":authority"])
malformed("more/8.3.1/25", "a method that is no token", method="GE T")
malformed("more/8.3.1/26", ":authority twice", doubled=":authority")
malformed("more/8.3.1/27", "host twice", ("host", "test"), ("host", "test"))
malformed("more/8.1.1/1", "content-length twice, different", ("content-length", "4"),
          ("content-length", "5"), method="POST", end=False)
malformed("more/8.1.1/2", "content-length that is no number", ("content-length", "+4"),
          method="POST", end=False)
malformed("more/8.1.1/3", "content-length beyond any", ("content-length", "9" * 20),
          method="POST", end=False)
malformed("more/8.1.1/4", "less DATA than content-length", ("content-length", "5"),
          method="POST", data=[b"test"])
malformed("more/8.1.1/5", "END_STREAM on a head with content-length", ("content-length", "5"),
          method="POST")
malformed("more/8.1.1/6", "less DATA than content-length, then trailers",
          ("content-length", "5"), method="POST", data=[b"test"], trailers=[("x-test", "ok")])
malformed("more/8.1.1/7", "content-length as a list", ("content-length", "4, 4"),
          method="POST", data=[b"test"])
malformed("more/8.1/2", "a bad name in trailers", method="POST", data=[b"test"],
          trailers=[("x test", "ok")])
malformed("more/8.1/3", "a bad value in trailers", method="POST", data=[b"test"],
          trailers=[(b"x-test", b"a\nb")])
malformed("more/8.1/4", "transfer-encoding in trailers", method="POST", data=[b"test"],
          trailers=[("transfer-encoding", "chunked")])
malformed("more/8.5/1", "CONNECT with :path", method="CONNECT")
malformed("more/8.5/2", "extended CONNECT without :path (RFC 8441, 4)",
          (":protocol", "websocket"), method="CONNECT", without=[":path"])
served("more/8.2.3/1", "cookies in crumbs", ("cookie", "a=1"), ("cookie", "b=2"))
served("more/8.2.1/21", "te: trailers", ("te", "trailers"))


@case("more/6.9.1/1", "more DATA than the window lets")
def _(s):
    c = s.connect()
    c.request(1, end=False, method="POST", path="/slow")
    for _ in range(400):
        c.frame(DATA, 0, 1, bytes(16384))
    c.expect_error(1, FLOW_CONTROL_ERROR)


@case("more/10.5/1", "a header list larger than is taken is answered with 431")
def _(s):
    c = s.connect()
    # By reference to the table: few bytes on the wire, or CONTINUATION would be too many.
    block = b"\x40" + string("x-large") + string(b"x" * 120) + b"\xbe" * 600
    c.frame(HEADERS, END_STREAM | END_HEADERS, 1, c.block(c.fields()) + block)
    c.expect_answer(1, status="431")
    c.expect_alive()
