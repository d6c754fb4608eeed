"""A file a command; thin. What several of them need lies in `shared/`."""
