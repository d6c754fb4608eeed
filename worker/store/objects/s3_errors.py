"""What an error of either S3 client means, in one line for users."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError

from repro.stages.errors import Unreachable

DENIED = (
    *("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "RequestTimeTooSkewed"),
    "403",  # where an answer has no body that could say more
)
GONE = ("NoSuchKey", "NoSuchUpload", "404")


@contextmanager
def explained(url: str, bucket: str, what: str) -> Iterator[None]:
    """Raise what an error of a client means: FileNotFoundError and FileExistsError for the object itself, OSError for
    this machine's own disk, Unreachable for all else."""
    try:
        yield
    except FileExistsError:
        raise
    except (BaseError, BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # this machine's own disk
        code = code_of(error)
        if code == "NoSuchBucket":
            raise Unreachable(f"there is no bucket {bucket}; make it, or see REPRO_STORE") from None
        if isinstance(error, FileNotFoundError) or code in GONE:
            raise FileNotFoundError(f"{url}/{what} is not there") from None
        raise Unreachable(f"{url}: {what}: {_why(error, code)}") from None


def _why(error: Exception, code: str) -> str:
    if code in DENIED or isinstance(error, PermissionError):
        return f"access denied ({code or 'no permission'}); see AWS_ACCESS_KEY_ID and the bucket's policy"
    return f"{code or _innermost(error)}; see REPRO_STORE and AWS_ENDPOINT_URL"


def code_of(error: Exception) -> str:
    """The server's own word for what is wrong; empty if it sent none. obstore quotes the XML that has it."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    quoted = re.search(r"<Code>(\w+)</Code>", str(error))
    return quoted[1] if quoted else ""


def _innermost(error: Exception) -> str:
    """The innermost cause, which obstore tells in the details after its first line, if at all."""
    causes = re.findall(r'message: "([^"]+)"', str(error))
    first_line = str(error).partition("\n")[0]
    return (causes[-1] if causes else first_line.rpartition(": ")[2])[:200] or type(error).__name__
