"""What all tests share: the real data sets, where they are at hand."""
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
GOLDEN = SHARED.parent / "golden"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data sets; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real data sets (../shared/data) are not beside this checkout")
    return SHARED.resolve()


@pytest.fixture
def one_thread():
    """torch with one thread: the same numbers on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    """The outputs of the earlier code's networks; PACKAGE_networks.npz for the tests of a package."""
    path = GOLDEN / f"{request.path.parent.name}_networks.npz"
    if not path.is_file():
        pytest.skip("the golden outputs (../shared/golden) are not beside this checkout")
    with np.load(path) as stored:
        return dict(stored)
