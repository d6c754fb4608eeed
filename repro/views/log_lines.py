"""What a terminal would show of a log, for those who read it as lines."""


class Collapse:
    """Lines as a terminal leaves them: a bar that redraws itself by carriage returns is its last state alone.

    Colours stay. Takes the text in any pieces; what follows the last line's end is kept until more comes.
    """

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """The lines that are complete by now."""
        whole, end, self._rest = (self._rest + text).rpartition("\n")
        # Of a long bar only what may still be seen is kept.
        self._rest = self._rest[self._rest.rstrip("\r").rfind("\r") + 1 :]
        return "".join(f"{_last(line)}\n" for line in whole.split("\n")) if end else ""

    def close(self) -> str:
        """What is left: a line that never ended."""
        rest, self._rest = self._rest, ""
        return _last(rest)


def _last(line: str) -> str:
    """What stands there after the last return; a return right at the end, as before a line's end, clears nothing."""
    return line.rstrip("\r").rpartition("\r")[2]
