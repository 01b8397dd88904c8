"""Results out to a folder and to an S3 server, read back; broken off, changed, damaged."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import s3server
from runs import written

from npukit.errors import JobFailed, Unavailable, UserError
from npukit.files import sha256
from npuops.assets import publish, stores
from npuops.assets.stores import Bucket, Folder, store

BUCKET = "results"
MAKE = ["make", "--no-print-directory", "-C", Path(__file__).parents[4], f"VENV={sys.prefix}", "ENGINE=none"]


@pytest.fixture(scope="module")
def s3():
    with s3server.serving() as settings:
        yield settings


@pytest.fixture(params=["folder", "bucket"])
def destination(request, tmp_path):
    """A place of each kind, its address and how a test reads, writes and lists it."""
    if request.param == "folder":
        return Folder(tmp_path / "published")
    settings = request.getfixturevalue("s3")
    for name, value in settings.items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    stores.client.cache_clear()
    client = s3server.client(settings)
    client.create_bucket(Bucket=BUCKET)
    for key in s3server.keys(settings, BUCKET):
        client.delete_object(Bucket=BUCKET, Key=key)
    return Bucket(BUCKET, "some/prefix")


def listed(destination):
    if isinstance(destination, Folder):
        return {path.relative_to(destination.path).as_posix() for path in destination.path.rglob("*") if path.is_file()}
    pages = stores.client().list_objects_v2(Bucket=BUCKET, Prefix=destination.prefix)
    return {item["Key"].removeprefix(f"{destination.prefix}/") for item in pages.get("Contents", ())}


def damage(destination, key, content):
    """Replace what is published under a key, or remove it for None."""
    if isinstance(destination, Folder):
        (destination.path / key).unlink()
        if content is not None:
            (destination.path / key).write_bytes(content)
    elif content is None:
        stores.client().delete_object(Bucket=BUCKET, Key=destination.key(key))
    else:
        stores.client().put_object(Bucket=BUCKET, Key=destination.key(key), Body=content)


@pytest.fixture
def run(make_run):
    """A run's folders as the stages leave them."""
    folder = make_run()
    written(folder)
    for name, content in {"postprocess/log.txt": "a log", "infer/outputs/0_0.bin": "raw", "atc/model.om": "an om",
                          "atc.failed/log.txt": "no",
                          ".perf.7.new/log.txt": "no", "../inputs/log.txt": "a log",
                          "../pth2onnx/toy.onnx": "big"}.items():
        place = (folder / name).resolve()
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    return folder


SENT = {"postprocess/report.json", "postprocess/predictions.jsonl", "postprocess/log.txt", "postprocess/record.json",
        "infer/outputs_summary.json", "infer/record.json", "atc/model.om", "atc/record.json", "perf/log.txt",
        "perf/record.json",
        "inputs/log.txt", "inputs/record.json", "pth2onnx/ledger.json", "pth2onnx/record.json", "pth2onnx/weights.json"}


def place_of(destination):
    [index] = destination.keys("index.json")
    return index.removesuffix("/index.json")


def test_a_run_arrives_under_a_path_that_says_what_it_is(run, destination):
    line = publish.publish(run, destination)
    place = place_of(destination)
    assert listed(destination) == {f"{place}/{name}" for name in SENT | {"index.json"}}
    model, chip, profile, batch_size, name = place.split("/")
    assert (model, chip, profile, batch_size) == ("toy", "cpu", "tiny", "bs8")
    assert name == f"20240501T120000Z-{sha256(run / 'postprocess' / 'report.json')[:8]}"
    assert line == f"{destination}/{place}: {len(SENT) + 1} of {len(SENT) + 1} files sent"
    index = json.loads(b"".join(destination.pieces(f"{place}/index.json")))
    assert {entry["path"] for entry in index["files"]} == SENT and index["run"] == name and index["passes"] is True
    assert b"".join(destination.pieces(f"{place}/atc/model.om")) == b"an om"
    told = []
    publish.verify(destination, told.append)
    assert told == [f"{destination}/{place}: verified"]


def test_twice_is_harmless_and_another_run_has_another_place(run, destination):
    publish.publish(run, destination)
    before = listed(destination)
    assert publish.publish(run, destination).endswith(": there") and listed(destination) == before
    written(run, metrics={"f1": 0.71})
    publish.publish(run, destination)
    assert len(destination.keys("index.json")) == 2 and before < listed(destination)


def test_a_run_is_there_for_a_reader_only_when_all_of_it_is(run, destination, monkeypatch):
    """The plug is pulled at every file; nobody ever finds an index without its files, and the next one completes it."""
    put, files = type(destination).put, len(SENT) + 1
    for last in range(files):
        sent = []

        def broken(self, file, key, digest, sent=sent, last=last):
            if len(sent) == last:
                raise KeyboardInterrupt
            sent.append(key)
            return put(self, file, key, digest)

        monkeypatch.setattr(type(destination), "put", broken)
        with pytest.raises(KeyboardInterrupt):
            publish.publish(run, destination)
        assert destination.keys("index.json") == []
    monkeypatch.setattr(type(destination), "put", put)
    assert publish.publish(run, destination).endswith(f": 1 of {files} files sent")
    publish.verify(destination)


def test_a_run_that_changes_meanwhile_is_not_published(run, destination, monkeypatch):
    put = type(destination).put

    def changing(self, file, key, digest):
        (run / "atc/model.om").write_text("another om")
        return put(self, file, key, digest)

    monkeypatch.setattr(type(destination), "put", changing)
    with pytest.raises(JobFailed, match=r"bs8 was changed while it was published \(atc/model\.om\); publish it again"):
        publish.publish(run, destination)
    assert destination.keys("index.json") == []


DAMAGES = {"other bytes": ("atc/model.om", b"An om", r"atc/model\.om has 5 bytes and sha256 \w+, not 5 and \w+"),
           "another length": ("perf/log.txt", b"dd", r"perf/log\.txt has 2 bytes"),
           "missing": ("postprocess/report.json", None, r"report\.json is missing"),
           "no index": ("index.json", b"{", r"index\.json is no index"),
           "another index": ("index.json", b'{"files": [1]}', r"index\.json is no index")}


@pytest.mark.parametrize("name, content, reason", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_named(run, destination, name, content, reason):
    publish.publish(run, destination)
    damage(destination, f"{place_of(destination)}/{name}", content)
    told = []
    with pytest.raises(JobFailed, match=rf"is not whole:\n.*{reason}.*\npublish these runs again"):
        publish.verify(destination, told.append)
    assert told[0].endswith(": 1 of its files are not as published")


def test_nothing_is_published_yet(destination, run):
    with pytest.raises(UserError, match=r"no run is published at .*; make publish DEST=\.\.\. does"):
        publish.verify(destination)
    (run / "postprocess/report.json").unlink()
    with pytest.raises(UserError, match="bs8 has no report yet; run make all first"):
        publish.publish(run, destination)


def test_a_large_file_goes_up_in_parts(run, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    stores.client.cache_clear()
    client = s3server.client(s3)
    client.create_bucket(Bucket="large")
    content = os.urandom(20 << 20)
    (run / "atc/model.om").write_bytes(content)
    publish.publish(run, store("s3://large"))
    publish.verify(store("s3://large"))
    [key] = [key for key in s3server.keys(s3, "large") if key.endswith("/atc/model.om")]
    assert client.head_object(Bucket="large", Key=key)["ETag"].strip('"').endswith("-3"), "three parts of 8 MiB"


@pytest.mark.parametrize("address, reason", [
    ("ftp://host/a", r"ftp://\.\.\.: results go to"), ("s3://", "s3://bucket/prefix and nothing more"),
    ("s3://key:seCret@bucket/a", "credentials come from"), ("file://host/a", "has three slashes")])
def test_an_address_that_is_none(address, reason):
    with pytest.raises(UserError, match=reason) as error:
        store(address)
    assert "seCret" not in str(error.value)


def test_a_bucket_that_is_not_there_or_not_ours(run, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    stores.client.cache_clear()
    for act in (lambda: publish.publish(run, store("s3://nobody/a")), lambda: publish.verify(store("s3://nobody/a"))):
        with pytest.raises(UserError,
                           match=r"s3://nobody/a.*: the store answers 404 NoSuchBucket; look at the bucket's name"):
            act()


def test_a_store_that_does_not_answer(run, s3, monkeypatch):
    for name, value in {**s3, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    stores.client.cache_clear()
    with pytest.raises(Unavailable,
                       match=r"s3://nobody/a.*: the store cannot be reached \(EndpointConnectionError\); try again"):
        publish.publish(run, store("s3://nobody/a"))
    stores.client.cache_clear()


def test_no_credentials(run, s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    stores.client.cache_clear()
    with pytest.raises(UserError, match=r"cannot be asked \(NoCredentialsError\).*\(AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        publish.verify(store("s3://bucket/a"))
    stores.client.cache_clear()


@pytest.mark.parametrize("endpoint, asked, style", [
    ("", "", None), ("http://minio:9000", "", "path"), ("http://obs", "virtual", "virtual"), ("", "path", "path")])
def test_addressing(monkeypatch, endpoint, asked, style):
    for name, value in {"AWS_ENDPOINT_URL": endpoint, "NPUKIT_S3_ADDRESSING": asked,
                        "AWS_REGION": "cn-north-4"}.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    stores.client.cache_clear()
    assert (stores.client().meta.config.s3 or {}).get("addressing_style") == style
    stores.client.cache_clear()
    monkeypatch.setenv("NPUKIT_S3_ADDRESSING", "sideways")
    with pytest.raises(UserError, match="NPUKIT_S3_ADDRESSING=sideways; it is path, virtual or auto"):
        stores.client()


def test_make_publish_and_verify_published(run, s3, tmp_path):
    """From the front door to the S3 server and back; the secret of the store is in no output."""
    s3server.client(s3).create_bucket(Bucket="door")
    shutil.copytree(run.parent, tmp_path / "out/cpu/tiny/bilstm_crf")

    def make(*goals, dest="s3://door/jobs"):
        done = subprocess.run([*MAKE, f"OUT_ROOT={tmp_path}/out", "MODEL=bilstm_crf", "BS=8", *goals],
                              capture_output=True, text=True,
                              env={**os.environ, **s3, "DEST": dest})
        assert s3server.SECRET not in done.stdout + done.stderr
        return done

    assert make("publish").stdout.rstrip().endswith(f"{len(SENT) + 1} of {len(SENT) + 1} files sent")
    assert make("publish").stdout.rstrip().endswith(": there")
    assert make("verify-published").stdout.rstrip().endswith(": verified")
    s3server.client(s3).delete_object(Bucket="door",
                                      Key=next(key for key in s3server.keys(s3, "door") if key.endswith("model.om")))
    failed = make("verify-published")
    assert failed.returncode == 2 and "Error 1" in failed.stderr and "atc/model.om is missing" in failed.stderr
    for goals, dest, sentence in ((["BS=16", "publish"], "s3://door",
                                   "there is no such run to publish; run make all first"),
                                  (["publish"], "", "DEST= says where results go")):
        failed = make(*goals, dest=dest)
        assert failed.returncode == 2 and sentence in failed.stderr and "Error 2" in failed.stderr
