"""Where the bytes of an asset come from: https://, http://, s3://, file:// and hubs, each read from an offset on."""
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from npukit.errors import UserError
from npuops.assets.stores import client, local_path, split, verdict

HUB = "https://huggingface.co"
TIMEOUT = (10, 30)  # seconds, until there is a connection and between two pieces
PIECE = 1 << 16  # bytes at most; what has come before a break is kept
SCHEMES = {"https", "http", "s3", "file"}


class Refused(Exception):
    """This source does not have the file, or will not give it; asking again would not help."""


class Silent(Refused):
    """Nobody answers at this host, for this file or any other."""


class Broken(Exception):
    """The source may well answer if it is asked again.

    after   the seconds that it wants to be left alone
    silent  whether there was no answer at all
    """

    def __init__(self, reason: str, after: float = 0, silent: bool = False):
        super().__init__(reason)
        self.after, self.silent = after, silent


@dataclass
class Answer:
    """What a source sends.

    start   the offset of its first byte: the one asked for, or 0 where the source cannot begin in the middle
    total   the bytes of the whole file, None where the source does not say
    tag     changes when the file does, None where the source has none
    pieces  raises Broken where it breaks off
    """

    start: int
    total: int | None
    tag: str | None
    pieces: Iterator[bytes]


def address(source: dict) -> str:
    """Return the URL of a source of assets.toml; a hub's file lies below HF_ENDPOINT, as for the hub's own client."""
    if "url" in source:
        return source["url"]
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    return f"{endpoint}/{source['hub']}/resolve/{source['revision']}/{quote(source['path'])}"


def below(url: str, path: str) -> str:
    """Return the URL of a path below another URL, whose query stays what it was."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{path}").geturl()


def shown(url: str) -> str:
    """Return a URL as messages may show it: no user, no password, no query, for there are secrets in those."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def origin(url: str) -> str:
    """Return the scheme and host of a URL: what is out of reach for one file is so for the next."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def ask(url: str, start: int, tag: str | None) -> Answer:
    """Ask a source for a file from an offset on; a file that is no longer the one of `tag` comes from its beginning.

    raises  Refused or Broken, in words without addresses
    """
    ways = {"https": ask_http, "http": ask_http, "s3": ask_s3, "file": ask_file}
    way = ways.get(urlsplit(url).scheme)
    if way is None:
        raise Refused(f"is no address; those of {', '.join(sorted(SCHEMES))} are")
    return way(url, start, tag)


def ask_http(url: str, start: int, tag: str | None) -> Answer:
    """Ask a web server. ~/.netrc and the proxy variables count, as requests reads them; HF_TOKEN goes to the hub alone."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    if os.environ.get("HF_TOKEN") and origin(url) == origin(os.environ.get("HF_ENDPOINT") or HUB):
        headers["Authorization"] = f"Bearer {os.environ['HF_TOKEN']}"
    try:
        answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.exceptions.SSLError:
        raise Refused("has no certificate that is trusted here") from None
    except requests.exceptions.Timeout:
        raise Broken(f"did not answer within {TIMEOUT[1]} s", silent=True) from None
    except requests.exceptions.ConnectionError:
        raise Broken("cannot be reached", silent=True) from None
    except requests.exceptions.TooManyRedirects:
        raise Refused("redirects in a circle") from None
    except (requests.exceptions.RequestException, ValueError):
        raise Refused("cannot be asked: its address, or one that it redirects to, is none") from None
    judge(answer, url)
    first, total = span(answer)
    strong = answer.headers.get("ETag", "").startswith('"')
    return Answer(first, total, answer.headers["ETag"] if strong else None, http_pieces(answer))


def judge(answer, url: str) -> None:
    """Raise what a status means that brings no file."""
    if url.startswith("https:") and answer.url.startswith("http:"):
        raise Refused("redirects to an address without encryption")
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise Broken(f"answers {answer.status_code}", retry_after(answer.headers.get("Retry-After", "")))
    if answer.status_code == 416:
        raise Refused("has fewer bytes than have come already")
    if answer.status_code not in (200, 206):
        raise Refused(f"answers {answer.status_code}")


def retry_after(header: str) -> float:
    """Return the seconds of a Retry-After header, a minute at most; a date counts as no wish."""
    return min(float(header), 60) if header.strip().isdigit() else 0


def span(answer) -> tuple[int, int | None]:
    """Return where an answer begins and how many bytes the whole file has, None where it does not say."""
    if answer.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None:
            raise Broken("answers with a part and does not say which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() and "Content-Encoding" not in answer.headers else None


def http_pieces(answer) -> Iterator[bytes]:
    import urllib3

    with answer:
        try:
            while piece := answer.raw.read1(PIECE, decode_content=True):
                yield piece
        except urllib3.exceptions.DecodeError:
            raise Refused("sends what it cannot have packed itself") from None
        except (urllib3.exceptions.HTTPError, OSError):
            raise Broken("broke off or stood still") from None


def ask_s3(url: str, start: int, tag: str | None) -> Answer:
    """Ask an object store; credentials and endpoint are those of npuops.assets.stores."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = split(url)
    try:
        answer = client().get_object(Bucket=bucket, Key=key, **({"Range": f"bytes={start}-"} if start else {}))
    except (ClientError, BotoCoreError) as error:
        said, again = verdict(error)
        raise Broken(said, silent=isinstance(error, BotoCoreError)) if again else Refused(said) from None
    if start and tag and answer["ETag"] != tag:
        return ask_s3(url, 0, None)
    begin, total = (start, int(answer["ContentRange"].rpartition("/")[2])) if "ContentRange" in answer else (0,
                                                                                                             answer["ContentLength"])
    return Answer(begin, total, answer["ETag"], s3_pieces(answer["Body"]))


def s3_pieces(body) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError

    try:
        yield from body.iter_chunks(PIECE)
    except BotoCoreError:
        raise Broken("broke off or stood still") from None


def ask_file(url: str, start: int, tag: str | None) -> Answer:
    """Open a file of this machine, or one that is mounted."""
    try:
        path = local_path(url)
        file = open(path, "rb")
    except (OSError, UserError) as error:
        raise Refused(getattr(error, "strerror", None) or "is no file's address") from None
    file.seek(start)
    return Answer(start, os.fstat(file.fileno()).st_size, None, file_pieces(file))


def file_pieces(file) -> Iterator[bytes]:
    with file:
        try:
            while piece := file.read(PIECE):
                yield piece
        except OSError:
            raise Broken("cannot be read to its end") from None
