"""obstore's client for a bucket of S3, or of a server that speaks it: it carries bytes several times as fast as s3fs.

Credentials, region and endpoint come from where botocore finds them for every other tool: environment, ~/.aws, instance
roles.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from obstore.exceptions import BaseError
from obstore.store import S3Store

from repro.stages.errors import ReproError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

RETRY: "RetryConfig" = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
CLIENT: "ClientConfig" = {"connect_timeout": "5s", "timeout": "120s", "read_timeout": "20s"}
BOTOCORE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 8})
SETTINGS = (BotoCoreError, ValueError)  # how botocore refuses what makes no sense
HINT = "; AWS_ENDPOINT_URL is written http://HOST:PORT or https://HOST"
NO_CREDENTIALS = "no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def connect(bucket: str, what: str) -> tuple[S3Store, Any]:
    """obstore's client, which carries the bytes, and botocore's, which knows every operation of S3.

    Each may be used from several threads. Nothing is asked of the server yet. `what`: of the user's, for messages.

    Raises:
        ReproError: there are no credentials, or settings that make no sense.
    """
    session = Session()
    try:
        if session.get_credentials() is None:
            raise ReproError(f"{what}: {NO_CREDENTIALS}")
        region = session.get_config_variable("region") or "us-east-1"
        client = session.create_client("s3", region_name=region, config=BOTOCORE)
        return _obstore(bucket, session, client.meta.endpoint_url, client.meta.region_name), client
    except (*SETTINGS, OSError, BaseError) as error:
        raise ReproError(f"{what}: {error}{HINT}") from None


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
