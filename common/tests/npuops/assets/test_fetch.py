"""Assets from folders, mirrors and sources that may do anything; killed, twice at once, on a full disk, with secrets about."""
import contextlib
import dataclasses
import hashlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import s3server
from scripts import environment
from toytree import wait_for
from webserver import announcing, status, whole, without_ranges

from npukit.errors import NpukitError, Unavailable, UserError
from npuops.assets import fetch, stores
from npuops.assets.manifest import Asset, manifest, recorded

CONTENT = random.Random(2).randbytes(200_000)
SIZE = len(CONTENT)
MAKE = ["make", "-C", Path(__file__).parents[4], f"VENV={sys.prefix}", "ENGINE=none"]
TIMEOUT = (1, 1)  # seconds

pytestmark = pytest.mark.usefixtures("quick")


def asset(*sources, content=CONTENT, to="corpus/dev.tsv", **more):
    return Asset(to, "none", tuple({"url": s} if isinstance(s, str) else s for s in sources), Path("/none/assets.lock"),
                 len(content),
                 hashlib.sha256(content).hexdigest(), len(content), **more)


def new(tmp_path, *sources, to="corpus/dev.tsv", most=SIZE, **more):
    """Return an asset whose digest nobody knows yet."""
    return dataclasses.replace(asset(*sources, to=to, **more), sha256=None, size=None, most=most,
                               lock=tmp_path / "assets.lock")


def bring(assets, data, *arguments, **options):
    """Fetch; return the lines that were told."""
    told = []
    fetch.fetch(assets, data, *arguments, tell=told.append, **options)
    return told


def left(data):
    """Return the files below data/, those of locks left out."""
    return {path.relative_to(data).as_posix()
            for path in data.rglob("*") if path.is_file() and ".locks" not in path.parts}


def packed(**members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


# --- A folder, a mirror -----------------------------------------------------------------------------------------------


def test_a_local_file_is_found_by_its_digest_whatever_its_name(tmp_path):
    local = tmp_path / "local" / "deep"
    local.mkdir(parents=True)
    (local / "dev.tsv").write_bytes(CONTENT[::-1])  # the right name and size, another content
    (local / "renamed.bin").write_bytes(CONTENT)
    data = tmp_path / "data"
    assert bring([asset()], data, tmp_path / "local") == [f"{data}/corpus/dev.tsv: from {local / 'renamed.bin'}"]
    assert (data / "corpus/dev.tsv").read_bytes() == CONTENT and left(data) == {"corpus/dev.tsv"}
    assert bring([asset()], data) == [f"{data}/corpus/dev.tsv: there"]


def test_a_file_of_another_content_is_replaced(tmp_path, server):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/dev.tsv").write_bytes(CONTENT[::-1])
    bring([asset(server.gives(whole(CONTENT)))], tmp_path)
    assert (tmp_path / "corpus/dev.tsv").read_bytes() == CONTENT


def test_local_that_is_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"LOCAL=.*nowhere is no folder"):
        bring([asset()], tmp_path, tmp_path / "nowhere")


def test_a_mirror_comes_first_and_is_believed_by_digest_alone(tmp_path, server):
    mirror = server.url("/mirror")
    server.gives(whole(CONTENT), path="/mirror/corpus/dev.tsv")
    server.gives(whole(CONTENT[::-1]), path="/mirror/corpus/bad.tsv")
    good, bad = asset(server.gives(status(500))), asset(server.gives(whole(CONTENT), path="/own"), to="corpus/bad.tsv")
    unknown = new(tmp_path, server.gives(whole(CONTENT), path="/new"), to="corpus/new.tsv")
    told = bring([good, bad, unknown], tmp_path / "data", mirror=mirror)
    assert sorted(line.split(": from ")[1].partition(";")[0] for line in told) == [
        f"{mirror}/corpus/dev.tsv", server.url("/new"), server.url("/own")]
    assert "/mirror/corpus/new.tsv" not in [path
                                            for path, _ in server.asked], "what has no digest yet is not taken from a mirror"


def test_a_mirror_that_is_signed_for_as_a_whole(tmp_path, server):
    server.gives(whole(CONTENT), path="/mirror/corpus/dev.tsv?sig=seCret")
    assert bring([asset()], tmp_path, mirror=server.url("/mirror/?sig=seCret")) == [
        f"{tmp_path}/corpus/dev.tsv: from {server.url('/mirror/corpus/dev.tsv')}"]
    with pytest.raises(UserError, match=r"MIRROR= is no address; give https"):
        bring([asset()], tmp_path, mirror="/a/folder")


def test_a_mirror_that_is_a_folder(tmp_path):
    (tmp_path / "copy/corpus").mkdir(parents=True)
    (tmp_path / "copy/corpus/dev.tsv").write_bytes(CONTENT)
    bring([asset()], tmp_path / "data", mirror=f"file://{tmp_path}/copy")
    with pytest.raises(Unavailable, match=r"/none/corpus/dev\.tsv: No such file"):
        bring([asset()], tmp_path / "other", mirror=f"file://{tmp_path}/none")


def test_a_mirror_that_is_a_bucket(tmp_path, monkeypatch):
    with s3server.serving() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        stores.client.cache_clear()
        store = s3server.client(settings)
        store.create_bucket(Bucket="mirror")
        store.put_object(Bucket="mirror", Key="data/corpus/dev.tsv", Body=CONTENT)
        part = tmp_path / "corpus" / ".dev.tsv.part"
        part.parent.mkdir()
        part.write_bytes(CONTENT[:1000])  # broken off in an earlier run
        assert bring([asset()], tmp_path,
                     mirror="s3://mirror/data") == [f"{tmp_path}/corpus/dev.tsv: from s3://mirror/data/corpus/dev.tsv"]
        for mirror, reason in (("s3://mirror/none", "answers 404 NoSuchKey"),
                               ("s3://nobody/data", "answers 404 NoSuchBucket")):
            with pytest.raises(Unavailable, match=reason):
                bring([asset()], tmp_path / "other", mirror=mirror)
    stores.client.cache_clear()


def test_a_bucket_that_breaks_off_and_is_busy(tmp_path, server, monkeypatch):
    """The server of the web tests, asked as an object store."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    for name, value in {"AWS_ENDPOINT_URL": server.url(""), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                        "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull,
                        "AWS_SHARED_CREDENTIALS_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    stores.client.cache_clear()
    cut = whole(CONTENT, until=70_000)
    server.gives(status(503), cut, status(503), cut, whole(CONTENT), path="/mirror/corpus/dev.tsv")
    bring([asset()], tmp_path, mirror="s3://mirror")
    assert server.ranges("/mirror/corpus/dev.tsv")[:2] == [None, None] and left(tmp_path) == {"corpus/dev.tsv"}
    assert server.ranges("/mirror/corpus/dev.tsv")[2].startswith("bytes=")
    server.gives(status(503), path="/mirror/corpus/dev.tsv")
    with pytest.raises(Unavailable, match=r"s3://mirror/corpus/dev\.tsv: answers 503 .*4 times in a row"):
        bring([asset()], tmp_path / "other", mirror="s3://mirror")
    stores.client.cache_clear()


# --- Sources ----------------------------------------------------------------------------------------------------------

BAD = {
    "not there": (status(404), "answers 404"), "out of order": (status(500), "answers 500, 4 times"),
    "other bytes": (whole(CONTENT[::-1]), "carries sha256 [0-9a-f]{64}, not"),
    "another length": (whole(CONTENT[1:]), "has 199999 bytes"),
    "more": (announcing(CONTENT + b"!", None), "sends more than"),
    "less": (without_ranges(CONTENT, until=10), "ends at 10 of|broke off")}


@pytest.mark.parametrize("answer, reason", BAD.values(), ids=BAD)
def test_a_bad_source_leaves_nothing_and_the_next_one_is_tried(tmp_path, server, answer, reason):
    bad = server.gives(answer, path="/bad")
    with pytest.raises(Unavailable,
                       match=rf"1 of 1 files are not there\n  {bad}: .*{reason}.*:\n    corpus/dev\.tsv\nWhat you can do: "):
        bring([asset(bad)], tmp_path)
    assert not (tmp_path / "corpus/dev.tsv").exists()
    bring([asset(bad, server.gives(whole(CONTENT)))], tmp_path)
    assert (tmp_path / "corpus/dev.tsv").read_bytes() == CONTENT and left(tmp_path) == {"corpus/dev.tsv"}


def test_what_can_be_had_is_brought_and_the_rest_named(tmp_path, server):
    assets = [asset(server.gives(status(404) if n % 2 else whole(CONTENT), path=f"/{n}"), to=f"c/{n}")
              for n in range(9)]
    with pytest.raises(Unavailable) as error:
        bring(assets, tmp_path)
    assert left(tmp_path) == {f"c/{n}" for n in (0, 2, 4, 6, 8)}
    assert [line.strip()
            for line in str(error.value).splitlines() if line.startswith("    ")] == ["c/1", "c/3", "c/5", "c/7"]


def test_a_host_that_does_not_answer_is_not_asked_for_every_file(tmp_path):
    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached, 4 times in a row"):
        bring([asset("http://127.0.0.1:9/file", to=f"c/{n}") for n in range(40)], tmp_path)
    assert time.monotonic() - began < 5


def test_an_archive_is_downloaded_once_for_all_that_it_carries(tmp_path, server):
    contents = {f"top/{n}": CONTENT[n:] for n in range(8)}
    url = server.gives(whole(packed(**contents)))
    assets = [asset({"url": url, "member": name, "most": 10**7}, content=content, to=f"c/{name}")
              for name, content in contents.items()]
    assets[3] = dataclasses.replace(assets[3], sha256="0" * 64)
    assets.append(asset({"url": url, "member": "none", "most": 10_000_000}, to="c/none"))
    with pytest.raises(Unavailable) as error:
        bring(assets, tmp_path)
    assert "carries sha256" in str(error.value) and "the archive has no member none" in str(error.value)
    assert left(tmp_path) == {f"c/top/{n}" for n in range(8) if n != 3} and len(server.asked) == 1
    with pytest.raises(Unavailable, match=r"has .* bytes, more than the 5 that the manifest allows"):
        bring([asset({"url": url, "member": "top/1", "most": 5}, to="c/x")], tmp_path)


def test_a_torn_archive_leaves_nothing(tmp_path, server):
    url = server.gives(announcing(packed(a=CONTENT)[:-5000], None))
    with pytest.raises(Unavailable, match="the archive is not whole"):
        bring([asset({"url": url, "member": "a", "most": 10_000_000})], tmp_path)
    assert left(tmp_path) == set()


def test_an_earlier_runs_bytes_that_do_not_belong_are_thrown_away(tmp_path, server):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/.dev.tsv.part").write_bytes(CONTENT[::-1][:1000])
    bring([asset(server.gives(whole(CONTENT)))], tmp_path)
    assert server.ranges() == ["bytes=1000-", None] and left(tmp_path) == {"corpus/dev.tsv"}


# --- Digests that nobody knows yet ------------------------------------------------------------------------------------


def test_what_comes_first_is_recorded_and_asked_for_ever_after(tmp_path, server):
    (tmp_path / "assets.toml").write_text(
        f'[[file]]\nto = "a/b.bin"\nmost = 300_000\nlicence = "MIT"\nsources = [{{ url = "{server.url()}" }}]\n')
    first, later = b"\x80" + CONTENT, b"\x80" + CONTENT[::-1]
    server.gives(whole(first))
    [line] = bring(manifest(tmp_path / "assets.toml"), tmp_path / "data")
    assert line.endswith(f"; its digest is in {tmp_path}/assets.lock")
    assert recorded(tmp_path / "assets.lock")["a/b.bin"]["sha256"] == hashlib.sha256(first).hexdigest()
    server.gives(whole(later))
    with pytest.raises(Unavailable, match="carries sha256"):
        bring(manifest(tmp_path / "assets.toml"), tmp_path / "elsewhere")
    assert bring(manifest(tmp_path / "assets.toml"), tmp_path / "data")[0].endswith(": there")


def test_ones_own_copy_is_recorded(tmp_path):
    place = tmp_path / "data/corpus/dev.tsv"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert "its digest is in" in bring([new(tmp_path)], tmp_path / "data")[0]
    assert recorded(tmp_path / "assets.lock")["corpus/dev.tsv"]["source"] == "your own copy"


UNFIT = {"a web page": ("w.bin", b"<!doctype html>Please log in", (), "is a web page"),
         "no JSON": ("o.json", b"<", (), "is no JSON"),
         "another JSON": ("o.json", b"{}", ("lstm",), "it has no lstm"),
         "no HDF5": ("w.hdf5", b"PK", (), "is no HDF5 file")}


@pytest.mark.parametrize("name, content, holds, reason", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_refused_by_name_and_not_recorded(tmp_path, server, name, content, holds, reason):
    strange = new(tmp_path, server.gives(whole(content)), to=f"a/{name}", holds=holds)
    with pytest.raises(Unavailable, match=rf"a/{name} .*{reason}"):
        bring([strange], tmp_path / "data")
    assert left(tmp_path) == set()


def test_what_has_no_source_is_asked_of_the_user(tmp_path):
    with pytest.raises(UserError,
                       match=r"it has no source:\n    corpus/dev\.tsv\nWhat you can do: put your own copy in its place below"):
        bring([new(tmp_path)], tmp_path)


# --- Licences ---------------------------------------------------------------------------------------------------------


def test_what_is_bound_to_a_licence_waits_for_the_users_word(tmp_path, server):
    bound = dataclasses.replace(asset(server.gives(whole(CONTENT)), accept="word"), licence="research only")
    server.gives(whole(CONTENT), path="/mirror/corpus/dev.tsv")
    for accept in ((), ("other",)):
        assert bring([bound], tmp_path / "data", mirror=server.url("/mirror"), accept=accept) == [
            f"{tmp_path}/data/corpus/dev.tsv: left out: research only. Put your own copy there, or say with ACCEPT=word that you may "
            "have it, and it is downloaded"]
    assert server.asked == [] and left(tmp_path) == set()
    (tmp_path / "data/corpus").mkdir(parents=True)
    (tmp_path / "data/corpus/dev.tsv").write_text("<!DOCTYPE html>")
    [told] = bring([bound], tmp_path / "data")
    assert re.search(rf"dev.tsv: another file than the released one: its sha256 is [0-9a-f]{{64}}, not {bound.sha256}\. Put", told)
    assert (tmp_path / "data/corpus/dev.tsv").read_text() == "<!DOCTYPE html>", "it may be dear to somebody"
    bring([bound], tmp_path / "data", accept=("other", "word"))
    assert (tmp_path / "data/corpus/dev.tsv").read_bytes() == CONTENT
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/copy").write_bytes(CONTENT)
    bring([bound], tmp_path / "again", tmp_path / "mine")  # one's own copy needs no word


# --- Disks ------------------------------------------------------------------------------------------------------------


def test_room_is_asked_for_before_anything_is_fetched(tmp_path, server):
    huge = dataclasses.replace(new(tmp_path, server.gives(whole(CONTENT))), most=10**16)
    with pytest.raises(UserError,
                       match=r"MB free, and 10000000000\.0 MB may be needed; make room, or name another place"):
        bring([huge], tmp_path)
    assert server.asked == []


def test_a_disk_that_fills_up_is_named_and_what_has_come_is_kept(tmp_path, small_disk, server, monkeypatch):
    content = random.Random(3).randbytes(900_000)
    url = server.gives(whole(content))
    (small_disk / "full").write_bytes(bytes(600_000))
    with pytest.raises(UserError, match=r"small has 0\.4 MB free"):
        bring([asset(url, content=content)], small_disk)
    monkeypatch.setattr(fetch, "require_room", lambda *_: None)  # somebody else fills it meanwhile
    with pytest.raises(UserError,
                       match=r"the disk of .*small is full; make room, or name another place with DATA=.*what has come is kept"):
        bring([asset(url, content=content)], small_disk)
    assert left(small_disk) == {"full", "corpus/.dev.tsv.part", "corpus/.dev.tsv.part.tag"}
    came = (small_disk / "corpus/.dev.tsv.part").stat().st_size
    (small_disk / "full").unlink()
    bring([asset(url, content=content)], small_disk)
    assert came > 100_000 and server.ranges() == [None, f"bytes={came}-"] and left(small_disk) == {"corpus/dev.tsv"}


def test_an_archive_and_a_local_file_that_do_not_fit(small_disk, tmp_path, server, monkeypatch):
    monkeypatch.setattr(fetch, "require_room", lambda *_: None)
    content = bytes(1_500_000)
    url = server.gives(whole(packed(a=content, b=random.Random(4).randbytes(20_000))))
    with pytest.raises(UserError, match=r"the disk of .*small is full"):
        bring([asset({"url": url, "member": "a", "most": 10_000_000}, content=content)], small_disk)
    (tmp_path / "local").mkdir()
    (tmp_path / "local/a").write_bytes(content)
    with pytest.raises(UserError, match=r"the disk of .*small is full"):
        bring([asset(content=content)], small_disk, tmp_path / "local")
    assert not {"corpus/dev.tsv", "corpus/.dev.tsv.new"} & left(small_disk)


# --- Processes: killed, several at once, watched ----------------------------------------------------------------------


def write_manifest(folder, *entries):
    (folder / "assets.toml").write_text("".join(
        f'[[file]]\nto = "{a.to}"\nsha256 = "{a.sha256}"\nsize = {a.size}\nlicence = "none"\n'
        f'sources = [{{ url = "{a.sources[0]["url"]}" }}]\n' for a in entries))
    return folder / "assets.toml"


def start(path, data, **more):
    return subprocess.Popen([sys.executable, "-m", "npuops", "fetch", "--data", data, path],
                            env=environment(NO_PROXY="127.0.0.1", **more),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_fetch_is_continued(tmp_path, server):
    url = server.gives(whole(CONTENT, pause=0.05, piece=20_000))
    path, part = write_manifest(tmp_path, asset(url)), tmp_path / "corpus/.dev.tsv.part"
    with start(path, tmp_path) as killed:
        wait_for(lambda: part.exists() and part.stat().st_size > 50_000)
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "corpus/dev.tsv").exists()
    came, began = part.stat().st_size, time.monotonic()
    with start(path, tmp_path) as again:
        assert again.wait() == 0, again.stderr.read()
    assert time.monotonic() - began < 30, "the dead one's lock was not waited for"
    assert server.ranges() == [None, f"bytes={came}-"] and (tmp_path / "corpus/dev.tsv").read_bytes() == CONTENT
    assert left(tmp_path) == {"assets.toml", "corpus/dev.tsv"}


def test_an_interrupted_fetch_ends_soon_and_keeps_what_has_come(tmp_path, server):
    urls = [server.gives(whole(CONTENT, pause=0.1, piece=500), path=f"/{n}") for n in range(8)]
    path = write_manifest(tmp_path, *(asset(url, to=f"c/{n}") for n, url in enumerate(urls)))
    with start(path, tmp_path) as fetching:
        wait_for(lambda: len(list(tmp_path.glob("c/.*.part"))) == 4)
        with start(path, tmp_path) as waiting:
            assert "is fetching it; waiting" in waiting.stderr.readline()
            for process in (waiting, fetching):
                process.send_signal(signal.SIGINT)
                printed = process.communicate(timeout=20)
                assert process.returncode == 130 and "Traceback" not in printed[1], printed
    assert len(server.asked) == 4 and all((tmp_path / f"c/.{n}.part").stat().st_size for n in range(4))


def test_several_fetches_at_once_download_once(tmp_path, server):
    slow = whole(CONTENT, pause=0.05, piece=20_000)
    assets = [asset(server.gives(slow, path=f"/{n}"), to=f"c/{n}") for n in range(3)]
    path = write_manifest(tmp_path, *assets)
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(start(path, tmp_path)) for _ in range(3)]
        told = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], told
    assert sorted(path for path, _ in server.asked) == ["/0", "/1", "/2"]
    assert any("is fetching it; waiting" in stderr for _, stderr in told)
    assert all(len(stdout.splitlines()) == 3 for stdout, _ in told)


def command_lines():
    """Return the command line of every process."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return lines


def test_secrets_stand_in_no_message_and_no_list_of_processes(tmp_path, server):
    """An address with a password and a signature, given in the environment as the makefile's reader is told to."""
    slow = whole(CONTENT, pause=0.1, piece=20_000)
    server.gives(slow, path="/mirror/corpus/dev.tsv?X-Amz-Signature=seCret")
    server.answers["/mirror/corpus/dev.tsv"] = [slow]
    path = write_manifest(tmp_path, asset(server.url("/none?sig=seCret")),
                          asset(server.url("/none?sig=seCret"), to="corpus/none"))
    mirror = server.url("/mirror").replace("//", "//me:seCret@")
    command = [*MAKE, f"DATA={tmp_path}", f"manifests={path}", "fetch"]
    with subprocess.Popen(command, env={**os.environ, "MIRROR": mirror, "NO_PROXY": "127.0.0.1"},
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:
        wait_for(lambda: (tmp_path / "corpus/.dev.tsv.part").exists())
        seen = [line for line in command_lines() if "seCret" in line]
        assert any("npuops\0fetch" in line for line in command_lines()) and not seen
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "seCret" not in printed, printed
    assert f"from {server.url('/mirror/corpus/dev.tsv')}" in printed and f"{server.url('/none')}: answers 404" in printed
    assert not [file
                for file in tmp_path.rglob("*") if file.is_file() and file != path and b"seCret" in file.read_bytes()]


def test_no_message_of_any_fault_shows_a_secret(tmp_path, server):
    for answer in (status(404), status(500), status(302, Location="gopher://me:seCret@a/b?seCret"),
                   without_ranges(CONTENT, until=9),
                   status(302, Location="http://127.0.0.1:9/?X-Amz-Signature=seCret")):
        server.answers["/file?seCret"] = [answer]
        with pytest.raises(NpukitError) as error:
            bring([asset(server.url("/file?seCret").replace("//", "//seCret:seCret@"))], tmp_path)
        assert "seCret" not in str(error.value) and "/file" in str(error.value)


# --- The front door ---------------------------------------------------------------------------------------------------


def test_make_fetch_and_its_list(tmp_path, server):
    path = write_manifest(tmp_path, asset(server.gives(whole(CONTENT))),
                          asset(server.url("/none"), to="corpus/none", content=b"none"))
    command = [*MAKE, f"DATA={tmp_path / 'data'}", f"manifests={path}"]
    (tmp_path / "two words").mkdir()
    (tmp_path / "two words/none").write_bytes(b"none")

    def make(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True,
                              env={**os.environ, "NO_PROXY": "127.0.0.1"})

    assert "2 of 2 to fetch" in make("fetch-list").stdout
    failed = make("fetch")
    assert failed.returncode == 2 and "Error 75" in failed.stderr and "1 of 2 files are not there" in failed.stderr
    assert make(f"LOCAL={tmp_path / 'two words'}", "fetch").returncode == 0
    assert "0 of 2 to fetch" in make("fetch-list").stdout
