"""An S3 server on this machine, moto's, with a bucket and the environment that leads to it."""
import contextlib
import logging
import os
from collections.abc import Iterator

import boto3
from moto.server import ThreadedMotoServer

SECRET = "seCret0fTheStore"


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve; give the environment in which boto3 finds the server, and nothing of the user's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": SECRET,
           "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
           "NO_PROXY": "127.0.0.1",
           "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    server.stop()


def client(environment: dict[str, str]):
    """Return a client of the tests' own."""
    return boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="tests",
                        aws_secret_access_key=SECRET,
                        region_name="us-east-1")


def keys(environment: dict[str, str], bucket: str) -> list[str]:
    return [item["Key"] for item in client(environment).list_objects_v2(Bucket=bucket).get("Contents", ())]
