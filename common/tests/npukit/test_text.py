"""Text by lines: every line with its number, and what is not UTF-8 by file, line and byte."""
import pytest

from npukit.errors import BadSample
from npukit.text import lines


@pytest.mark.parametrize("content, encoding, found", [
    (b"", "utf-8", []), (b"a\n\nb", "utf-8", [(1, "a"), (2, ""), (3, "b")]),
    ("\u00e9\r\n".encode(), "utf-8", [(1, "\u00e9\r")]),
    (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", "utf-8-sig", [(1, "a"), (2, "\ufeffb")]),
    (b"\xef\xbb\xbfa", "utf-8", [(1, "\ufeffa")]),
    ("a\u2028b\x0cc\n".encode(), "utf-8", [(1, "a\u2028b\x0cc")])])
def test_lines(tmp_path, content, encoding, found):
    (tmp_path / "t").write_bytes(content)
    assert list(lines(tmp_path / "t", encoding)) == found


@pytest.mark.parametrize("content, place", [
    (b"a\nb\xffc\n", "2: byte 2"), ("a\n".encode("utf-16"), "1: byte 1"), (b"a\n\xe2\x82", "2: byte 1")])
def test_what_is_not_utf_8_is_refused(tmp_path, content, place):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(BadSample, match=rf"/t:{place} is not UTF-8; convert the file, for instance with iconv$"):
        list(lines(tmp_path / "t"))
