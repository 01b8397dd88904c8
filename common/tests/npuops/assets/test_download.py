"""One file from a server that does everything wrong."""
import hashlib
import os
import random

import pytest
import webserver
from hypothesis import given, settings
from hypothesis import strategies as st
from webserver import announcing, redirect, stalling, status, whole, without_ranges

from npuops.assets import sources
from npuops.assets.download import Download
from npuops.assets.sources import Refused, shown

CONTENT = random.Random(1).randbytes(300_000)
SIZE = len(CONTENT)
TIMEOUT = (1, 0.3)  # seconds

pytestmark = pytest.mark.usefixtures("quick")


def bring(url, part, size=SIZE, known=True):
    Download(url, part, most=size, size=size if known else None, known=known).run()
    return part.read_bytes()


CUT = whole(CONTENT, until=100_000)
MENDED = {  # what the server does, request by request: the file arrives
    "breaks off three times": [CUT, CUT, CUT],
    "a little each time": [whole(CONTENT, until=30_000)],
    "no tag": [whole(CONTENT, tag=None, until=200_000), whole(CONTENT, tag=None)],
    "stands still": [stalling(CONTENT, 50_000, 1), whole(CONTENT)],
    "no length": [announcing(CONTENT, None)],
    "no length, cut short": [announcing(CONTENT[:-1], None), whole(CONTENT)],
    "knows no ranges": [CUT, without_ranges(CONTENT)],
    "too many requests": [status(429, Retry_After=0), whole(CONTENT)],
    "out of order": [status(500), status(503), status(502), whole(CONTENT)],
    "out of order, then in the middle": [CUT, status(503), whole(CONTENT)],
}


@pytest.mark.parametrize("answers", MENDED.values(), ids=MENDED)
def test_what_a_patient_client_gets_over(tmp_path, server, answers):
    assert bring(server.gives(*answers), tmp_path / "part") == CONTENT


REFUSED = {  # answers, words of the reason, how often it is asked
    "not there": ([status(404)], "answers 404", 1),
    "forbidden": ([status(403)], "answers 403", 1),
    "out of order for good": ([status(500)], "answers 500, 4 times in a row", 4),
    "too many requests for good": ([status(429)], "answers 429, 4 times in a row", 4),
    "stands still for good": ([stalling(CONTENT, 0, 1)], "stood still, 4 times in a row", 4),
    "never more than a part, knows no ranges": ([without_ranges(CONTENT, until=9000)],
                                                "broke off.*|ends at 9000 of 300000", 5),
    "announces less": ([announcing(CONTENT, 200_000)], "has 200000 bytes, not 300000", 1),
    "announces more": ([announcing(CONTENT, 300_001)], "has 300001 bytes, not 300000", 1),
    "sends more": ([announcing(CONTENT + b"!", None)], "sends more than 300000 bytes", 1),
    "is shorter": ([announcing(CONTENT[:-1], None), whole(CONTENT[:-1], tag=None)], "has fewer bytes than have come",
                   2),
    "sends another part": ([CUT, status(206, Content_Range="bytes 7-9/300000")], "another part than it was asked for",
                           2),
    "a part without a place": ([status(206)], "does not say which, 4 times", 4),
    "a circle": ([redirect("/file")], "redirects in a circle", 31),
    "redirects to no address": ([redirect("gopher://a/b")], "its address, or one that it redirects to, is none", 1),
}


@pytest.mark.parametrize("answers, reason, times", REFUSED.values(), ids=REFUSED)
def test_what_nobody_gets_over(tmp_path, server, answers, reason, times):
    with pytest.raises(Refused, match=reason):
        bring(server.gives(*answers), tmp_path / "part")
    assert len(server.asked) == times


def test_a_break_is_continued_where_it_was(tmp_path, server):
    bring(server.gives(CUT), tmp_path / "part")
    assert server.ranges() == [None, "bytes=100000-", "bytes=200000-"]


def test_redirects_are_followed(tmp_path, server):
    there = server.gives(whole(CONTENT), path="/there")
    assert bring(server.gives(redirect(there)), tmp_path / "part") == CONTENT


def test_a_file_that_changes_in_the_middle_is_begun_again(tmp_path, server):
    other = CONTENT[::-1]
    url = server.gives(whole(CONTENT, tag='"v1"', until=100_000), whole(other, tag='"v2"'))
    assert bring(url, tmp_path / "part", known=False) == other


@pytest.mark.parametrize("known, tag, continued", [
    (True, None, True), (False, '"v1"', True), (False, None, False), (False, 'W/"v1"', False)])
def test_only_bytes_that_are_sure_to_belong_are_continued_in_a_later_run(tmp_path, server, known, tag, continued):
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    got = Download(server.gives(whole(CONTENT, tag=tag)), tmp_path / "part", 400_000, len(CONTENT) if known else None,
                   known)
    got.remember(tag if tag and not tag.startswith("W/") else None)
    assert got.run() == continued and (tmp_path / "part").read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000-" if continued else None]


def test_the_bytes_of_another_source_are_not_continued(tmp_path, server):
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    Download("http://elsewhere/file", tmp_path / "part", 400_000).remember('"v1"')
    bring(server.gives(whole(CONTENT)), tmp_path / "part", known=False)
    assert server.ranges() == [None]


def test_nothing_is_taken_that_is_longer_than_it_may_be(tmp_path, server):
    for answer, reason in ((whole(CONTENT), "has 300000 bytes, more than the 1000"),
                           (announcing(CONTENT, None), "sends more than 1000")):
        with pytest.raises(Refused, match=reason):
            Download(server.gives(answer), tmp_path / "part", most=1000).run()
        assert not (tmp_path / "part").exists() or (tmp_path / "part").stat().st_size <= 1000 + sources.PIECE


def test_nobody_listens(tmp_path):
    with pytest.raises(sources.Silent, match="cannot be reached, 4 times in a row"):
        bring("http://127.0.0.1:9/file", tmp_path / "part")


@pytest.mark.parametrize("wish, seconds",
                         [("0", 0), ("7", 7), ("86400", 60), ("Fri, 31 Dec 2027 23:59:59 GMT", 0), ("", 0)])
def test_the_wish_to_be_left_alone_is_heard_within_reason(wish, seconds):
    assert sources.retry_after(wish) == seconds


@settings(deadline=None, max_examples=30)
@given(breaks=st.lists(st.integers(0, 40_000), max_size=6), ranges=st.booleans(), size=st.integers(0, 200_000))
def test_any_breaks_give_the_same_bytes(tmp_path_factory, server, breaks, ranges, size):
    content, part = CONTENT[:size], tmp_path_factory.mktemp("any") / "part"
    cut = [whole(content, until=n) if ranges else without_ranges(content, until=n) for n in breaks[:3]]
    Download(server.gives(*cut, whole(content)), part, len(content), len(content), True).run()
    assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_file_addresses(tmp_path):
    (tmp_path / "a b").write_bytes(CONTENT)
    assert bring(f"file://{tmp_path}/a%20b", tmp_path / "part") == CONTENT
    (tmp_path / "part").write_bytes(CONTENT[:5])
    assert bring(f"file://{tmp_path}/a%20b", tmp_path / "part") == CONTENT
    for address, reason in ((f"file://{tmp_path}/none", "No such file"), (f"file://{tmp_path}", "Is a directory"),
                            ("file://host/a", "is no file's address"),
                            ("ftp://host/a", "is no address; those of file, http, https, s3 are")):
        with pytest.raises(Refused, match=reason):
            bring(address, tmp_path / "none")


@pytest.mark.parametrize("url", ["https://me:secret@host:8443/a/b?X-Amz-Signature=secret#secret",
                                 "http://secret@host/a?secret"])
def test_no_secret_is_shown(url):
    assert "secret" not in shown(url) + sources.origin(url) and "host" in shown(url)


def test_the_hub_is_where_it_is_said_to_be(monkeypatch, server, tmp_path):
    source = {"hub": "who/what", "revision": "1f", "path": "a b/c.json"}
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert sources.address(source) == "https://huggingface.co/who/what/resolve/1f/a%20b/c.json"
    monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.gives(whole(CONTENT), path="/who/what/resolve/1f/a%20b/c.json")
    assert bring(sources.address(source), tmp_path / "part") == CONTENT
    assert server.asked[-1][1]["Authorization"] == "Bearer secret"
    bring(server.gives(whole(CONTENT)).replace("127.0.0.1", "localhost"), tmp_path / "other")
    assert "Authorization" not in server.asked[-1][1], "the token is the hub's alone"


def test_the_notes_beside_a_part_hold_no_address(tmp_path):
    Download("http://me:secret@host/a", tmp_path / "part", 9).remember('"v1"')
    assert b"secret" not in (tmp_path / "part.tag").read_bytes() and os.listdir(tmp_path) == ["part.tag"]


def test_the_server_itself(server):
    """The tests' own tool: what it says it does, it does."""
    import requests

    server.gives(whole(CONTENT))
    assert requests.get(server.url()).content == CONTENT
    assert requests.get(server.url(), headers={"Range": "bytes=299990-"}).content == CONTENT[-10:]
    with pytest.raises(requests.RequestException):
        requests.get(server.gives(webserver.whole(CONTENT, until=5)))
