"""One HTTP/1.1 answer as it arrives, chunk by chunk: what http.client would take 15 ms to load for."""


class Malformed(Exception):
    """What arrives is not HTTP, or ends too early."""


class Answer:
    """Bytes in, the body's bytes out; `status` is 0 until the head is there, `done` set when the body has ended."""

    def __init__(self) -> None:
        self.status = 0
        self.done = False
        self.fields: dict[str, str] = {}
        self._raw = b""
        self._chunked = False
        self._left: int | None = None
        """Bytes of the body that are to come; None: all until the peer closes."""

    def feed(self, data: bytes) -> bytes:
        """Take what was received, empty when the peer has closed. Returns what of the body is complete."""
        self._raw += data
        if not self.status and not self._head():
            if not data:
                raise Malformed("the connection was closed before the answer")
            return b""
        if self._chunked:
            body = self._chunks()
        else:
            body, self._raw = self._raw[: self._left], b""
            if self._left is not None:
                self._left -= len(body)
                self.done = self._left == 0
        if not data and not self.done:
            if self._chunked or self._left:
                raise Malformed("the connection was closed within the answer")
            self.done = True
        return body

    def _head(self) -> bool:
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            return False
        self._raw = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, more = first.partition(" ")
        if not version.startswith("HTTP/1.") or not more[:3].isdigit():
            raise Malformed("what answers does not speak HTTP")
        status = int(more[:3])
        if status < 200:  # an interim answer: the real one follows
            return self._head()
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        length = fields.get("content-length")
        if length is not None and not length.isdigit():
            raise Malformed("the answer has no usable length")
        self.fields = fields
        self._left = 0 if status in (204, 304) else int(length) if length is not None else None
        self.status = status
        return True

    def _chunks(self) -> bytes:
        body = b""
        while not self.done:
            line, end, rest = self._raw.partition(b"\r\n")
            if not end:
                break
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Malformed("the answer has a chunk without a size") from None
            if len(rest) < size + 2:
                break
            body += rest[:size]
            self._raw = rest[size + 2 :]
            self.done = size == 0
        return body
