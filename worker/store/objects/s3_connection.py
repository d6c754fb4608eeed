"""The two clients of a bucket, and how a bucket is made.

Credentials, region and endpoint come from where botocore finds them for every other tool: environment, ~/.aws, instance
roles.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from obstore.store import S3Store

from repro.stages.errors import ReproError, Unreachable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

RETRY: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
CLIENT: "ClientConfig" = {"connect_timeout": "5s", "timeout": "120s", "read_timeout": "20s"}
BOTOCORE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 8})
NO_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """What `s3://BUCKET/PREFIX` names; either may be empty."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    return bucket, prefix


def connect(bucket: str, url: str) -> tuple[S3Store, Any]:
    """obstore's client, which carries the bytes, and botocore's, which knows every operation of S3.

    Each may be used from several threads. Nothing is asked of the server yet.

    Raises:
        ReproError: there are no credentials, or settings that make no sense.
    """
    session = Session()
    try:
        if session.get_credentials() is None:
            raise ReproError(f"REPRO_STORE={url}: no credentials for S3; {NO_CREDENTIALS}")
        region = session.get_config_variable("region") or "us-east-1"
        client = session.create_client("s3", region_name=region, config=BOTOCORE)
    except BotoCoreError as error:
        raise ReproError(f"REPRO_STORE={url}: {error}") from None
    return _obstore(bucket, session, client.meta.endpoint_url, client.meta.region_name), client


def _obstore(bucket: str, session: Session, endpoint: str, region: str) -> S3Store:
    options: ClientConfig = {**CLIENT, "allow_http": endpoint.startswith("http://")}
    if certificate := session.get_config_variable("ca_bundle"):
        options["root_certificate"] = Path(certificate).read_bytes()
    return S3Store(
        bucket,
        endpoint=endpoint,
        region=region,
        credential_provider=_credentials(session),
        virtual_hosted_style_request=False,
        client_options=options,
        retry_config=RETRY,
    )


def _credentials(session: Session) -> Callable[[], Any]:
    """Asked anew before they expire; botocore renews what can be renewed."""

    def provide() -> dict[str, Any]:
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(credentials, "_expiry_time", None),
        }

    return provide


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
        except BotoCoreError as error:
            why, is_starting = f"{error}; see AWS_ENDPOINT_URL", True
        if not is_starting or time.monotonic() > deadline:
            raise Unreachable(f"the bucket {bucket} can't be made: {why}")
        time.sleep(0.5)


def _create_bucket(client: Any, bucket: str) -> bool:
    with suppress(ClientError):  # of some regions' servers, creating one's own bucket again is no error
        client.head_bucket(Bucket=bucket)
        return False
    client.create_bucket(Bucket=bucket)
    return True
