"""A command on a terminal, as its user sees it; and the screens that it should show."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from difflib import ndiff
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def on_terminal(words, environment, columns=80, timeout=60):
    """What a command writes to a terminal of this width, colours and all."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in environment.items() if k not in ("NO_COLOR", "COLUMNS")} | {
        "TERM": "xterm-256color"
    }
    process = subprocess.Popen(words, env=environment, stdin=follower, stdout=follower, stderr=subprocess.DEVNULL)
    os.close(follower)
    shown = b""
    try:
        while data := os.read(leader, 65536):
            shown += data
    except OSError:
        pass  # how Linux says that nobody holds the other end any more
    finally:
        os.close(leader)
    assert process.wait(timeout) == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


def golden(name, text):
    """The text is what the file says; with REPRO_GOLDEN=write it becomes so, to be looked at and committed."""
    path = GOLDEN / name
    if os.environ.get("REPRO_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    expected = path.read_text()
    assert text == expected, "".join(ndiff(expected.splitlines(keepends=True), text.splitlines(keepends=True)))
