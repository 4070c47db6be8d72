"""The command's own HTTP and JSON: answers in every cut, and what is no answer."""

import json

import pytest

from agent.cli import client
from agent.cli.answer import Answer, Malformed

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}'
CHUNKED = b'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
UNTIL_CLOSE = b'HTTP/1.0 200 OK\r\n\r\n{"a":1}'
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH


@pytest.mark.parametrize("whole", [LENGTH, CHUNKED, UNTIL_CLOSE, INTERIM], ids=["length", "chunked", "close", "100"])
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_an_answer_in_pieces_of_any_size(whole: bytes, cut: int) -> None:
    answer = Answer()
    body = b"".join(answer.feed(whole[at : at + cut]) for at in range(0, len(whole), cut))
    if not answer.done:
        body += answer.feed(b"")
    assert (answer.status, body, answer.done) == (200, b'{"a":1}', True)


def test_no_body_where_there_is_none() -> None:
    for head in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
        answer = Answer()
        assert answer.feed(head) == b"" and answer.done


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ],
)
def test_what_is_no_answer_is_said(text: bytes) -> None:
    answer = Answer()
    with pytest.raises(Malformed):
        if text:
            answer.feed(text)
        answer.feed(b"")


@pytest.mark.parametrize(
    "value",
    [{}, {"a": [1, -2.5, 1e300, None, True, "é\n\u2028\U0001f600", {"b": []}]}, [], "x", 7, None],
)
def test_json_is_read_as_the_package_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1), f"  {json.dumps(value)}\n"):
        assert client.parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", [b"", b"{", b'{"a" 1}', b"{} x", b'"a\nb"', b"\xff", b"nul"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        client.parse(text)


def test_a_name_is_quoted() -> None:
    assert client.attachment("one-42.0_x") == "/v1/attachments/one-42.0_x"
    assert client.attachment("../é ?") == "/v1/attachments/..%2F%C3%A9%20%3F"
