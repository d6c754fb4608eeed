"""The clients of a store's bucket (`stages.s3_client`), and how a bucket is made."""

import time
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from repro.stages import s3_client
from repro.stages.errors import Unreachable


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """What `s3://BUCKET/PREFIX` names; either may be empty."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    return bucket, prefix


def create_bucket(url: str, patience: float) -> bool:
    """Make the bucket that a store's URL names; False if it is there. Waits some seconds for a server that starts.

    Raises:
        Unreachable: the server does not answer, or refuses the user.
    """
    bucket, _ = bucket_and_prefix(url)
    deadline = time.monotonic() + patience
    while True:
        try:
            return _create_bucket(Session().create_client("s3", region_name="us-east-1"), bucket)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                return False
            why = f"{code}; see AWS_ACCESS_KEY_ID"
            is_starting = code in ("ServiceUnavailable", "InternalError", "503", "500")
        except s3_client.SETTINGS as error:
            why, is_starting = f"{error}{s3_client.HINT}", isinstance(error, BotoCoreError)
        if not is_starting or time.monotonic() > deadline:
            raise Unreachable(f"the bucket {bucket} can't be made: {why}")
        time.sleep(0.5)


def _create_bucket(client: Any, bucket: str) -> bool:
    with suppress(ClientError):  # of some regions' servers, creating one's own bucket again is no error
        client.head_bucket(Bucket=bucket)
        return False
    client.create_bucket(Bucket=bucket)
    return True
