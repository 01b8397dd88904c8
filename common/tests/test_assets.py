"""Assets by digest: from a local folder, or from a server that may answer anything."""
import dataclasses
import hashlib
import http.server
import io
import os
import threading
import zipfile

import pytest

from npukit.assets import Asset, fetch, manifest
from npukit.errors import Unavailable, UserError

CONTENT = b"what was released\n" * 100


def asset(to="corpus/dev.json", content=CONTENT, sources=()):
    return Asset(to, hashlib.sha256(content).hexdigest(), len(content), "none", tuple(sources))


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def torn(archive):
    """Return a zip archive with damage in the middle of its data; its directory is whole."""
    middle = 60
    return archive[:middle] + bytes(byte ^ 0xff for byte in archive[middle:middle + 8]) + archive[middle + 8:]


@pytest.fixture(scope="module")
def server():
    """Return (address, {path: answer}) of a server on this machine; paths it does not know are 404."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body, length = answers.get(self.path, (404, b"gone", None))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", answers
        serving.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_local_file_is_found_by_its_digest_whatever_its_name(tmp_path):
    local = tmp_path / "local" / "deep"
    local.mkdir(parents=True)
    (local / "dev.json").write_bytes(CONTENT[::-1])  # the right name and size, another content
    (local / "renamed.bin").write_bytes(CONTENT)
    [line] = fetch([asset()], tmp_path / "data", tmp_path / "local")
    place = tmp_path / "data" / "corpus" / "dev.json"
    assert place.read_bytes() == CONTENT and os.listdir(place.parent) == ["dev.json"]
    assert line == f"{place}: from {local / 'renamed.bin'}"
    assert fetch([asset()], tmp_path / "data", None) == [f"{place}: there"]


def test_a_file_of_another_digest_is_replaced(tmp_path):
    place = tmp_path / "data" / "corpus" / "dev.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[::-1])
    (tmp_path / "copy").write_bytes(CONTENT)
    fetch([asset()], tmp_path / "data", tmp_path)
    assert place.read_bytes() == CONTENT


def test_nowhere_to_be_had(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "dev.json").write_bytes(CONTENT + b"!")
    with pytest.raises(Unavailable, match=r"corpus/dev\.json cannot be fetched \(it has no source\).*make LOCAL=folder fetch"):
        fetch([asset()], tmp_path / "data", tmp_path / "local")
    assert not (tmp_path / "data" / "corpus" / "dev.json").exists()


def test_local_that_is_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"LOCAL=.*nowhere is no folder"):
        fetch([asset()], tmp_path / "data", tmp_path / "nowhere")


WHOLE = {  # what the server has: (status, body, content length or None), member of the archive or None
    "a file": ((200, CONTENT, None), None),
    "a member": ((200, zipped(README="read me", **{"dev.json": CONTENT}), None), "dev.json"),
}
BROKEN = {
    "not there": ((404, b"gone", None), None, "404 Client Error"),
    "out of order": ((500, b"", None), None, "500 Server Error"),
    "other bytes": ((200, CONTENT[::-1], None), None, "carries sha256 .*, not "),
    "a longer file": ((200, CONTENT + b"!", None), None, "carries sha256 .*, not "),
    "an empty file": ((200, b"", None), None, "carries sha256 .*, not "),
    "cut short on the way": ((200, CONTENT[:-10], len(CONTENT)), None, "IncompleteRead"),
    "no such member": ((200, zipped(README="read me"), None), "dev.json", r"no member dev\.json in the archive"),
    "a bigger member": ((200, zipped(**{"dev.json": CONTENT + b"0" * 10_000_000}), None), "dev.json", "carries sha256 .*, not "),
    "a torn archive": ((200, torn(zipped(**{"dev.json": os.urandom(2000)})), None), "dev.json", "not a whole zip archive"),
    "a torn stream": ((200, torn(zipped(**{"dev.json": CONTENT})), None), "dev.json", "not a whole zip archive"),
    "half an archive": ((200, zipped(**{"dev.json": CONTENT})[:-30], None), "dev.json", "not a whole zip archive"),
    "no archive": ((200, CONTENT, None), "dev.json", "not a whole zip archive"),
}


def source(server, answer, member, path="/file"):
    address, answers = server
    answers[path] = answer
    return {"url": f"{address}{path}", **({"member": member} if member else {})}


@pytest.mark.parametrize("answer, member", WHOLE.values(), ids=WHOLE)
def test_a_source_that_answers(tmp_path, server, answer, member):
    url = source(server, answer, member)
    [line] = fetch([asset(sources=[url])], tmp_path, None)
    assert (tmp_path / "corpus" / "dev.json").read_bytes() == CONTENT
    assert line.endswith(f": from {url['url']}") and os.listdir(tmp_path / "corpus") == ["dev.json"]


@pytest.mark.parametrize("answer, member, reason", BROKEN.values(), ids=BROKEN)
def test_a_source_that_is_broken_leaves_nothing(tmp_path, server, answer, member, reason):
    with pytest.raises(Unavailable, match=rf"dev\.json cannot be fetched \(http.*{reason}.*LOCAL=folder"):
        fetch([asset(sources=[source(server, answer, member)])], tmp_path, None)
    assert os.listdir(tmp_path / "corpus") == []


@pytest.mark.parametrize("answer, member, reason", BROKEN.values(), ids=BROKEN)
def test_the_next_source_is_tried(tmp_path, server, answer, member, reason):
    broken, whole = source(server, answer, member), source(server, *WHOLE["a file"], path="/mirror")
    [line] = fetch([asset(sources=[broken, whole])], tmp_path, None)
    assert line.endswith("/mirror") and os.listdir(tmp_path / "corpus") == ["dev.json"]


def test_only_the_profiles_own_files_are_fetched(tmp_path):
    wanted = dataclasses.replace(asset(), profile="released")
    assert fetch([wanted], tmp_path / "data", None, "tiny") == []
    with pytest.raises(Unavailable):
        fetch([wanted], tmp_path / "data", None, "released")


def test_a_file_without_a_digest_is_never_fetched(tmp_path, server):
    unknown = dataclasses.replace(asset(sources=[source(server, *WHOLE["a file"])]), sha256="", size=0)
    with pytest.raises(UserError, match=r"no known sha256 and is not fetched unverified; put it there yourself, from http"):
        fetch([unknown], tmp_path, None)
    place = tmp_path / unknown.to
    place.parent.mkdir(parents=True)
    place.write_bytes(b"anything")
    assert fetch([unknown], tmp_path, None) == [f"{place}: there, not verified (no sha256 is known)"]


@pytest.mark.parametrize("member", [None, "dev.json"])
def test_what_is_bound_to_terms_is_fetched_only_when_they_are_accepted(tmp_path, server, member):
    answer = (200, zipped(**{"dev.json": CONTENT}) if member else CONTENT, None)
    bound = dataclasses.replace(asset(sources=[source(server, answer, member)]), size=len(CONTENT), sha256="", licence="ask first",
                                accept="terms")
    place = tmp_path / bound.to
    [line] = fetch([bound], tmp_path, None, accepted=["others"])
    assert line.startswith(f"{place}: not there, and not fetched: ask first. Put your own copy there, or") and not place.exists()
    assert f"make ACCEPT=terms fetch; it takes {bound.sources[0]['url']}" in line
    [line] = fetch([bound], tmp_path, None, accepted=["terms"])
    assert place.read_bytes() == CONTENT and f"not verified (no sha256 is known); it is {hashlib.sha256(CONTENT).hexdigest()}" in line
    place.write_bytes(b"the user's own")
    assert fetch([bound], tmp_path, None) == [f"{place}: there, not verified (no sha256 is known)"]
    place.unlink()
    with pytest.raises(Unavailable, match="carries more than 5 bytes"):
        fetch([dataclasses.replace(bound, size=5)], tmp_path, None, accepted=["terms"])
    assert os.listdir(place.parent) == []


def test_nobody_listens(tmp_path):
    with pytest.raises(Unavailable, match=r"cannot be fetched .*refused"):
        fetch([asset(sources=[{"url": "http://127.0.0.1:9/file"}])], tmp_path, None)


ENTRY = """
[[file]]
to = "{to}"
sha256 = "00"
size = 3
licence = "MIT"
sources = [{{ url = "http://a/b.zip", member = "c" }}]
"""


def test_manifest(tmp_path):
    (tmp_path / "assets.toml").write_text(ENTRY.format(to="a/b.json"))
    assert manifest(tmp_path / "assets.toml") == [Asset("a/b.json", "00", 3, "MIT", ({"url": "http://a/b.zip", "member": "c"},))]
    (tmp_path / "assets.toml").write_text("")
    assert manifest(tmp_path / "assets.toml") == []


@pytest.mark.parametrize("to", ["../b.json", "a/../../b.json", "/etc/passwd", "a/.."])
def test_no_asset_leaves_the_data_folder(tmp_path, to):
    (tmp_path / "assets.toml").write_text(ENTRY.format(to=to))
    with pytest.raises(UserError, match=r"leaves data/"):
        manifest(tmp_path / "assets.toml")


@pytest.mark.parametrize("text, reason", [("[[file]\n", "is no TOML"), ('[[file]]\nto = "a"\n', "has no licence")])
def test_a_broken_manifest_is_named(tmp_path, text, reason):
    (tmp_path / "assets.toml").write_text(text)
    with pytest.raises(UserError, match=rf"assets\.toml {reason}"):
        manifest(tmp_path / "assets.toml")
