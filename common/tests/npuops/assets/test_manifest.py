"""assets.toml and its lock: what is understood, what is refused by name, what is listed."""
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npukit.errors import UserError
from npuops.assets.manifest import is_inside, listing, manifest, record, recorded, wanted
from npuops.assets.sources import address

ROOT = Path(__file__).parents[4]
CONTENT = b"what was released\n" * 100
SHA = hashlib.sha256(CONTENT).hexdigest()

ENTRY = f'to = "a/b.json"\nsha256 = "{SHA}"\nsize = {len(CONTENT)}\nlicence = "MIT"\nsources = [{{ url = "http://a/b.json" }}]\n'
NEW = 'to = "a/new.bin"\nmost = 5000\nlicence = "MIT"\nsources = []\n'


def write(folder, *entries, name="assets.toml"):
    path = folder / name
    path.write_text("".join(f"[[file]]\n{entry}" for entry in entries))
    return path


def test_a_known_file_and_a_new_one(tmp_path):
    known, new = manifest(write(tmp_path, ENTRY, NEW))
    assert (known.to, known.sha256, known.size, known.most, known.profile) == ("a/b.json", SHA, 1800, 1800, None)
    assert (new.to, new.sha256, new.size, new.most, new.sources) == ("a/new.bin", None, None, 5000, ())
    assert manifest(write(tmp_path)) == []


def test_each_word_is_a_file(tmp_path):
    text = 'to = "c/{}-x"\neach = ["1", "2"]\nmost = 9\nlicence = "MIT"\nsources = [{ url = "s3://b/{}.tar", member = "m{}", most = 9 }]\n'
    assert [(a.to, a.sources[0]["member"], a.sources[0]["url"]) for a in manifest(write(tmp_path, text))] == [
        ("c/1-x", "m1", "s3://b/{}.tar"), ("c/2-x", "m2", "s3://b/{}.tar")]


@pytest.mark.parametrize("old, new, reason", [
    ("licence", "license", r"a/b\.json: no key is called license"),
    ('licence = "MIT"\n', "", r"a/b\.json: it has no licence"),
    (SHA, "00", "sha256 is 64 hexadecimal digits"), (f"size = {len(CONTENT)}\n", "", "either sha256 and size, or"),
    ("size", "most = 3\nsize", "either sha256 and size, or"), ("http://", "ftp://", "a source is url"),
    ("url =", 'hub = "a/b", path =', "a source is url"), ("a/b.json", "/etc/passwd", "to leaves data/"),
    ("a/b.json", "../b", "to leaves"),
    ("[[file]]", "[[file]", "is no TOML")])
def test_a_manifest_that_is_not_understood_is_named(tmp_path, old, new, reason):
    path = write(tmp_path, ENTRY)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=rf"assets\.toml.*{reason}"):
        manifest(path)


@given(st.text(alphabet="ab./\\", max_size=12))
def test_what_is_inside_stays_inside(to):
    import posixpath

    if is_inside(to):
        place = posixpath.normpath(posixpath.join("/data", to))
        assert place.startswith("/data/") and "/." not in place
    else:
        assert not to or "\\" in to or to.startswith("/") or any(part.startswith(".") for part in to.split("/"))


def test_a_digest_is_recorded_once_and_then_the_files_own(tmp_path):
    path = write(tmp_path, NEW)
    [new] = manifest(path)
    (tmp_path / "came").write_bytes(CONTENT)
    assert record(new, tmp_path / "came", "https://host/new.bin", tmp_path).sha256 == SHA
    assert json.loads((tmp_path / "assets.lock").read_text()) == {
        "a/new.bin": {"sha256": SHA, "size": len(CONTENT), "source": "https://host/new.bin"}}
    [known] = manifest(path)
    assert (known.sha256, known.size) == (SHA, 1800)
    (tmp_path / "came").write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match=r"a/new\.bin: sha256 .*, not .* as recorded in .*assets\.lock"):
        record(new, tmp_path / "came", "elsewhere", tmp_path)


def test_the_lock_does_not_overrule_the_manifest(tmp_path):
    path = write(tmp_path, ENTRY)
    (tmp_path / "assets.lock").write_text(json.dumps({"a/b.json": {"sha256": "0" * 64, "size": 1}}))
    assert manifest(path)[0].sha256 == SHA


@pytest.mark.parametrize("text, reason", [("[]", "is not as fetch writes it"),
                                          ('{"a": {"sha256": "00", "size": 1}}', "is not as fetch writes it"),
                                          ('{"a": {}}', "not as fetch writes it"), ("{", "is not whole JSON")])
def test_a_lock_that_was_changed_is_named(tmp_path, text, reason):
    (tmp_path / "assets.lock").write_text(text)
    with pytest.raises(UserError, match=rf"assets\.lock.*{reason}"):
        recorded(tmp_path / "assets.lock")


def test_what_two_models_need_is_one_file(tmp_path):
    (tmp_path / "other").mkdir()
    one = write(tmp_path, ENTRY + 'profile = "released"\n', NEW)
    both = [one, write(tmp_path / "other", ENTRY)]
    assert [(asset.to, asset.profile) for asset in wanted(both)] == [("a/b.json", None), ("a/new.bin", None)]
    assert [asset.to for asset in wanted([one], "tiny")] == ["a/new.bin"]
    write(tmp_path / "other", ENTRY.replace(SHA, "1" * 64))
    with pytest.raises(UserError, match=r"a/b\.json has another sha256 than in .*one place, one file"):
        wanted(both)


def test_the_list_says_what_is_there(tmp_path):
    data = tmp_path / "data"
    bound = ENTRY.replace("a/b.json", "a/bound") + 'accept = "word"\n'
    path = write(tmp_path, ENTRY, ENTRY.replace("a/b.json", "a/other"), ENTRY.replace("a/b.json", "a/none"), bound, NEW,
                 NEW.replace("a/new", "a/mine"), ENTRY.replace("a/b.json", "a/released") + 'profile = "released"\n')
    (data / "a").mkdir(parents=True)
    (data / "a" / "b.json").write_bytes(CONTENT)
    (data / "a" / "other").write_bytes(CONTENT[::-1])
    (data / "a" / "mine.bin").write_bytes(CONTENT)
    heading, _, *rows, last = listing([path], data, "tiny").splitlines()
    states = {row.split("  ")[0]: row for row in rows}
    for name, state in {"a/b.json": "there", "a/other": "another file", "a/none": "missing",
                        "a/bound": "missing, ACCEPT=word",
                        "a/new.bin": "missing, to record", "a/mine.bin": "there, not recorded"}.items():
        assert f"  {state}  " in states[name] and "MIT" in states[name]
    assert "a/released" not in states and heading.split() == ["file", "bytes", "state", "profile", "licence", "source"]
    assert "<= 5000" in states["a/new.bin"] and "your own copy" in states["a/new.bin"] and last.startswith("5 of 6 to fetch, 0.0 MB ")


MANIFESTS = sorted(ROOT.glob("models/*/assets.toml"))


def test_all_models_manifests_agree():
    """The sources and revisions that the issue of each model names."""
    assets = {asset.to: asset for asset in wanted(MANIFESTS)}
    assert assets["bert-base-cased-finetuned-sst2/pytorch_model.bin"].sources[0]["revision"] == "e3a2a13efbaaf56afd02eb7333952ea22a693c45"
    for asset in assets.values():
        assert asset.licence and all(not address(source).startswith("http:") for source in asset.sources)
    bound = {asset.to for asset in assets.values() if asset.accept}
    assert bound == {"conll2003/test.txt"}


def test_a_folder_with_only_a_manifest_is_no_model():
    makefile = (ROOT / "Makefile").read_text()
    assert "MODELS := $(sort $(patsubst models/%/Makefile,%,$(wildcard models/*/Makefile)))" in makefile


def test_the_readme_names_every_folder_and_every_file_that_nobody_here_has_seen():
    readme = (ROOT / "data" / "README.md").read_text()
    unseen = readme.split("## What nobody here has seen")[1].split("\n## ")[0]
    for path in MANIFESTS:
        for asset in manifest(path):
            assert f"| `{asset.to.split('/')[0]}/` |" in readme
            folder, name = re.sub(r"heldout-\d{5}", "heldout-000NN", asset.to).split("/")
            recorded_first = f"{path.parent.name} |" in unseen and f"{folder}/" in unseen and name in unseen
            assert asset.sha256 or recorded_first, f"{asset.to} has no sha256, and data/README.md does not say so"
