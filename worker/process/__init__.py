"""The stage's own process, and the fork server that has torch imported already."""
