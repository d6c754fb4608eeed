"""The commands of `repro`, a module a command, imported when it is called."""
