"""What a browser may show of a file: by its name, and never what it would run."""

TEXTS = (".txt", ".csv", ".json", ".jsonl", ".log", ".md", ".yaml", ".yml", ".toml", ".py", ".tsv", ".diff")
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def kind(path: str) -> str:
    """`picture`, `text` or `other`."""
    suffix = path[path.rfind(".") :].lower() if "." in path else ""
    return "picture" if suffix in PICTURES else "text" if suffix in TEXTS else "other"
