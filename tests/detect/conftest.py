"""A prepared product for the detector's tests."""
import pytest

from detect.prepare import prepare, write
from detect.products import ProductsConfig
from tests.detect.made import make_product


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("product")
    config = ProductsConfig(data=make_product(folder / "data"), output=folder / "out",
                            products={"m": {"good": ["good"], "defect": ["notok"]}})
    return write(config, prepare(config, "m"))
