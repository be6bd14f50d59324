"""Images that only a labelme file's own copy is left of: written beside the others, for those who ask for it."""
import base64
import binascii
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.data.formats.reading import files_under, subfolder, with_suffix
from core.data.images import write_image
from core.errors import DataError

from .products import ProductsConfig


def restore(config: ProductsConfig, name: str, lenient: bool = False) -> list[str]:
    """Write `images`/F/s/x.png for every labels/F/s/x.json of a product that has no image; a note a file.

    What labelme keeps is not always the file's own pixels: a copy in JPEG has lost some, and is told so.
    DataError: a copy that cannot be read; a note with `lenient`. A file without a copy is left to the reader, which
    names it.
    """
    product = config.chosen(name)
    pictures = subfolder(config.data, "images", "data", "imgs", "img") or config.data / "images"
    labels = subfolder(config.data, "labels", "label", "annotations") or pictures
    return [note for folder in (*product.good, *product.defect, *product.rework)
            for note in _restored(pictures / folder, labels / folder, lenient)]


def _restored(pictures: Path, labels: Path, lenient: bool) -> Iterator[str]:
    there = {path.relative_to(pictures).with_suffix("").as_posix().lower() for path in files_under(pictures)}
    for path in files_under(labels, with_suffix(".json")):
        place = path.relative_to(labels).with_suffix("")
        copy = None if place.as_posix().lower() in there else _copy(path, place.parent, there)
        if copy is not None:
            target = pictures / place.with_suffix(".png")
            try:
                with Image.open(io.BytesIO(base64.b64decode(copy, validate=True))) as image:
                    kind, pixels = image.format, np.asarray(image.convert("RGB"))
            except (binascii.Error, UnidentifiedImageError, OSError) as error:
                told = (f"{path}: its own copy of the image cannot be read, got '{error}'. Put the image itself into "
                        f"{pictures}")
                if not lenient:
                    raise DataError(told) from error
                yield told
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, pixels)
            yield (f"{target}: written from the copy in its label file"
                   + (", a JPEG, which has lost some of the image" if kind == "JPEG" else ""))


def _copy(path: Path, folder: Path, there: set[str]) -> str | None:
    """The copy in a label file, if it has one and names no image that is there, as the reader pairs them."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None                                     # the reader says what is wrong with it
    if not isinstance(document, dict):
        return None
    named = PurePosixPath(str(document.get("imagePath") or "").replace("\\", "/")).stem
    if (folder / named).as_posix().lower() in there:
        return None
    found = document.get("imageData")
    return found if isinstance(found, str) and found else None
