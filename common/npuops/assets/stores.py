"""Object stores and folders that results go to and assets come from: s3://bucket/prefix, a folder, file:///folder.

Endpoint, region and credentials are boto3's own affair: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and so on, or
~/.aws. Nothing of them is ever part of a message. NPUKIT_S3_ADDRESSING is path, virtual or auto; path if it is not set and an endpoint of
one's own is.
"""
import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from npukit.errors import Unavailable, UserError
from npukit.files import aside, sha256

PIECE = 1 << 20  # bytes
GONE = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
ADDRESSING = {"path", "virtual", "auto"}


@functools.cache
def client():
    """Return the S3 client of this process."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session()
    own = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    style = os.environ.get("NPUKIT_S3_ADDRESSING", "path" if own else "")
    if style and style not in ADDRESSING:
        raise UserError(f"NPUKIT_S3_ADDRESSING={style}; it is path, virtual or auto")
    with answers("the object store's settings"):
        return session.client("s3", config=Config(
            retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=60,
            s3={"addressing_style": style} if style else None))


@contextlib.contextmanager
def answers(what: str) -> Iterator[None]:
    """Turn what boto3 raises into the errors of the house; `what` names what was being done, secrets and addresses left out."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        said, again = verdict(error)
        if again:
            raise Unavailable(f"{what}: the store {said}; try again later, or look at AWS_ENDPOINT_URL") from None
        raise UserError(f"{what}: the store {said}; look at the bucket's name, at AWS_REGION and at your credentials "
                        "(AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)") from None


def verdict(error: Exception) -> tuple[str, bool]:
    """Return what an error of botocore's means, addresses and secrets left out, and whether asking again may help."""
    if hasattr(error, "response"):
        code, status = error.response["Error"].get("Code", ""), error.response["ResponseMetadata"].get("HTTPStatusCode",
                                                                                                       0)
        return f"answers {status} {code}", status >= 500 or status == 429
    kind = type(error).__name__
    mendable = any(word in kind for word in ("Credential", "Profile", "Region", "Param", "Config"))
    return (f"cannot be asked ({kind})", False) if mendable else (f"cannot be reached ({kind})", True)


def split(url: str) -> tuple[str, str]:
    """Return the bucket and the key of s3://bucket/key."""
    parts = urlsplit(url)
    if not parts.netloc or "@" in parts.netloc or parts.query:
        raise UserError("an s3:// address is s3://bucket/prefix and nothing more; credentials come from the usual AWS variables")
    return parts.netloc, parts.path.strip("/")


def local_path(url: str) -> Path:
    """Return the path of file:///path, or of a plain path."""
    parts = urlsplit(url)
    if parts.netloc:
        raise UserError(f"{parts.scheme}://{parts.hostname}/...: a file's address has three slashes, file:///path")
    return Path(unquote(parts.path) if parts.scheme == "file" else url)


def store(address: str) -> "Bucket | Folder":
    """Return what an address names: s3://bucket/prefix, file:///folder or a folder's path."""
    scheme = address.partition("://")[0] if "://" in address else "file"
    if scheme not in ("s3", "file"):
        raise UserError(f"{scheme}://...: results go to s3://bucket/prefix or to a folder")
    return Bucket(*split(address)) if scheme == "s3" else Folder(local_path(address))


def digest(pieces: Iterable[bytes]) -> tuple[str, int]:
    """Return the SHA-256 and the number of the bytes."""
    found, size = hashlib.sha256(), 0
    for piece in pieces:
        found.update(piece)
        size += len(piece)
    return found.hexdigest(), size


class Folder:
    """Files below a folder; each is whole or absent."""

    def __init__(self, path: Path):
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def put(self, file: Path, key: str, digest: str) -> bool:
        """Copy a file there unless it is; return whether it was copied."""
        place = self.path / key
        if place.is_file() and sha256(place) == digest:
            return False
        with aside(place) as new:
            shutil.copyfile(file, new)
        return True

    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield a file's bytes; raises FileNotFoundError."""
        with open(self.path / key, "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def keys(self, name: str) -> list[str]:
        """Return the keys of all files of this name."""
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob(name))


class Bucket:
    """Objects below a prefix of an S3 bucket; large ones go up in parts, every part with a checksum."""

    def __init__(self, bucket: str, prefix: str):
        self.bucket, self.prefix = bucket, prefix

    def __str__(self) -> str:
        return "/".join(filter(None, (f"s3://{self.bucket}", self.prefix)))

    def key(self, key: str) -> str:
        return f"{self.prefix}/{key}".lstrip("/")

    def put(self, file: Path, key: str, digest: str) -> bool:
        """Upload a file unless it is there with this digest; return whether it was uploaded."""
        with answers(f"{self}/{key}"):
            if self.noted(key) == digest:
                return False
            with open(file, "rb") as content:
                client().upload_fileobj(content, self.bucket, self.key(key), ExtraArgs={"Metadata": {"sha256": digest}})
        return True

    def noted(self, key: str) -> str | None:
        """Return the digest that an object was uploaded with, None where there is no object."""
        from botocore.exceptions import ClientError

        try:
            return client().head_object(Bucket=self.bucket, Key=self.key(key))["Metadata"].get("sha256")
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE - {"NoSuchBucket"}:
                return None
            raise

    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes; raises FileNotFoundError."""
        from botocore.exceptions import ClientError

        with answers(f"{self}/{key}"):
            try:
                body = client().get_object(Bucket=self.bucket, Key=self.key(key))["Body"]
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE - {"NoSuchBucket"}:
                    raise FileNotFoundError(f"{self}/{key}") from None
                raise
            yield from body.iter_chunks(PIECE)

    def keys(self, name: str) -> list[str]:
        """Return the keys, below the prefix, of all objects of this name."""
        below = f"{self.prefix}/" if self.prefix else ""
        with answers(str(self)):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below)
            found = [item["Key"].removeprefix(below) for page in pages for item in page.get("Contents", ())]
        return sorted(key for key in found if key.rpartition("/")[2] == name)
