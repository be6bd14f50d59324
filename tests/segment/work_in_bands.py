"""A child process that labels a large TIFF in bands and prints by how many MiB its memory grew at most."""
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from core.data.bands import PngRows, WholeRows, open_rows  # noqa: E402
from segment.apply import Segmenter  # noqa: E402
from segment.networks import Compact  # noqa: E402
from segment.panels import palette  # noqa: E402
from segment.parts import Parts  # noqa: E402
from segment.settings import SegmentConfig  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = SegmentConfig.model_validate({"data": {"root": "."}, "loop": {"steps": 1, "batch_size": 1},
                                           "infer": {"tile_px": 256}})
    segmenter = Segmenter(Compact(3, widths=(4, 4)).eval(), ("a", "b"), config)
    segmenter(np.zeros((300, 300, 3), np.uint8))                # libraries take what they need at first use
    image = open_rows(Path(sys.argv[1]))
    assert not isinstance(image, WholeRows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = Parts()
    with open(sys.argv[2], "wb") as file:
        png = PngRows(file, image.size, palette(2))
        for labels, sure in segmenter.bands(image):
            png.write(labels)
            parts.add(labels[:1], sure[:1])
        png.close()
    print(f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f}")


if __name__ == "__main__":
    main()
