"""Pieces of SVG: whatever a name or a value says, it stays text."""

from html import escape

from repro.stages.plain import clean

LONGEST = 200  # characters of a text


def element(tag: str, *content: str, **attributes: str | float) -> str:
    """An element around finished ones. Attributes are escaped; `_` stands for `-`, and a last one goes: `class_`."""
    said = "".join(f' {_name(key)}="{_spelled(value)}"' for key, value in attributes.items())
    return f"<{tag}{said}>{''.join(content)}</{tag}>"


def text(said: object, most: int = LONGEST) -> str:
    """Text as the content of an element."""
    return escape(clean(str(said), most))


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _spelled(value: str | float) -> str:
    return escape(clean(value, 2000)) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
