"""What a user names, found and read: runs, files, folders, curves, logs."""
