"""What the tests of trained stages begin with."""

import pytest

from tests.stages.patterns import dataset, model, write_patterns


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with images, a made dataset `data` and a trained `model`."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_DATA", str(folder))
        write_patterns(folder / "images")
        dataset(folder)
        model(folder)
        yield folder
