"""Packing 100,000 small PNG files with make_dataset: images a second and peak memory of the process.

    python -m benchmarks.packing        from a folder
    python -m benchmarks.packing --s3   from a real S3 server (Ceph) on this machine

Exits with 1 if the process, torch and all, needed 500 MB or more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import obstore
from obstore.store import S3Store
from PIL import Image

from tests.s3 import start_ceph

LIMIT = 500_000_000
ROOT = Path(__file__).parent.parent
CHILD = """
import resource, sys
from repro.stages.running.arguments import main
main("make_dataset", sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_images(folder: Path, count: int) -> None:
    """Images of 8x8 to 28x28 pixels in ten folders; a thousand different ones, to spend the time on files."""
    generator = np.random.default_rng(0)
    contents = []
    for _ in range(1000):
        buffer = BytesIO()
        side = int(generator.integers(8, 29))
        pixels = generator.integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    for digit in range(10):
        (folder / "images" / str(digit)).mkdir(parents=True)
    for index in range(count):
        (folder / "images" / str(index % 10) / f"{index:06}.png").write_bytes(contents[index % 1000])


@contextmanager
def on_s3(folder: Path) -> Iterator[str]:
    """The images in a bucket; the settings of the server stand in the environment."""
    server, stop = start_ceph(folder / "ceph")
    os.environ.update(server.environment)
    try:
        bucket = server.bucket()
        store = S3Store(bucket, endpoint=server.endpoint, client_options={"allow_http": True})

        def put(path: Path) -> None:
            obstore.put(store, path.relative_to(folder).as_posix(), path.read_bytes())

        with ThreadPoolExecutor(32) as threads:
            list(threads.map(put, (folder / "images").rglob("*.png")))
        yield f"s3://{bucket}"
    finally:
        stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--paranoia", default="sha256")
    parser.add_argument("--s3", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        write_images(folder, options.count)
        place = {"REPRO_DATA": stack.enter_context(on_s3(folder))} if options.s3 else {"REPRO_DATA": name}
        config = {"stage": "make_dataset", "images": "images/**/*.png", "height": 28, "width": 28}
        (folder / "data.json").write_text(json.dumps(config | {"paranoia": options.paranoia}))
        command = [sys.executable, "-c", CHILD, "-c", "data.json"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | place
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - start
        packed = (folder / "runs" / "data" / "data.bin").stat().st_size
    assert packed == options.count * 28 * 28, packed
    peak = int(done.stdout.splitlines()[-1])
    print(f"{options.count:,} images in {seconds:.1f} s, start and torch's import included:")
    print(f"{options.count / seconds:,.0f} images/s, peak memory {peak / 1e6:.0f} MB (limit {LIMIT / 1e6:.0f})")
    sys.exit(peak >= LIMIT)


if __name__ == "__main__":
    main()
