"""The bench of the worker's tests, for histories of a worker in this process."""

from tests.worker.conftest import bench, interpreter, toy_path

__all__ = ["bench", "interpreter", "toy_path"]
