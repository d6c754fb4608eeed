"""One claimed run, from its claim to an outcome; nothing here writes a run document."""
