"""How a run is executed on a machine: slots, lease, child process, storage."""
