"""What can be wrong with a data set: every kind of problem, how bad it is, and how many of one kind are told."""
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

ERROR, WARNING, NOTE = LEVELS = "error", "warning", "note"
EXAMPLES = 10                                   # of one kind that are told; the rest is counted

TINY_IMAGE_PX, TINY_DEFECT_PX = 32, 4           # side of an image, area of a defect
FULL, NEARLY_FULL = 1.0, 0.95                   # share of the image that a mask covers

# code -> (level, what the problems of that kind are), in the order in which they are told
KINDS = {
    "reading": (ERROR, "what the reader refuses"),
    "json": (ERROR, "label files that cannot be read"),
    "format": (ERROR, "label files of another format"),
    "points": (ERROR, "shapes that cannot be drawn"),
    "label": (ERROR, "labels that are no class"),
    "no-image": (ERROR, "label files without an image"),
    "no-label": (ERROR, "images without the label file that they need"),
    "name": (ERROR, "two images of one name"),
    "two-labels": (ERROR, "images with two label files"),
    "turned": (ERROR, "label files made before their image was turned upright"),
    "image": (ERROR, "images that cannot be read"),
    "size": (ERROR, "images or masks of another size than they should have"),
    "mask-empty": (ERROR, "masks without a pixel"),
    "mask-full": (ERROR, "masks that cover the whole image"),
    "box": (ERROR, "boxes outside the image or of no area"),
    "conflict": (ERROR, "the same file as defective and as defect-free"),
    "marked-good": (ERROR, "defects on images that are said to be good"),
    "leak": (WARNING, "the set's own split parts what belongs together"),
    "empty-defect": (WARNING, "images said to be defective, without a defect"),
    "put-aside": (NOTE, "images flagged to be left out"),
    "no-good": (WARNING, "no defect-free image"),
    "no-defect": (WARNING, "no defect"),
    "class-unused": (WARNING, "classes without a sample"),
    "class-single": (WARNING, "classes with one sample"),
    "class-one-group": (WARNING, "classes on one object only"),
    "duplicate": (WARNING, "the same file under several names"),
    "near-duplicate": (WARNING, "nearly the same picture in different groups"),
    "clean-same": (WARNING, "defect-free twins equal to their defective image"),
    "mask-nearly-full": (WARNING, "masks that cover nearly the whole image"),
    "ring": (WARNING, "lines one or two px wide round a defect of another class"),
    "box-border": (WARNING, "boxes that reach over the border"),
    "tiny-image": (WARNING, f"images with a side under {TINY_IMAGE_PX} px"),
    "tiny-defect": (WARNING, f"defects of fewer than {TINY_DEFECT_PX} px"),
    "blank": (WARNING, "images of one colour"),
    "box-full": (NOTE, "boxes as large as the image"),
    "look-alike": (NOTE, "pictures of different groups that look alike, apart from their fine texture"),
    "ignored": (NOTE, "defects that neither train nor count"),
    "unverified": (NOTE, "images that nobody labelled"),
    "stored": (NOTE, "ways in which images are stored, all of them read"),
    "shape": (NOTE, "sizes of the images"),
    "reader": (NOTE, "what the reader says"),
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding: `code` is a key of KINDS, `message` one line with the place, what is wrong and what to do.

    paths   files that it is about, where it says so; the message may name but the first of them
    """
    code: str
    message: str
    paths: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        return KINDS[self.code][0]


def problem(code: str, where: object, wrong: str, advice: str) -> Problem:
    """The problem whose message is `{where}: {what is wrong}, got {value}. {what to do}`."""
    return Problem(code=code, message=f"{where}: {wrong}. {advice}")


def grouped(problems: Iterable[Problem]) -> list[tuple[str, list[str]]]:
    """Code and messages of each kind of problem that there is, in the order of KINDS."""
    lines = defaultdict(list)
    for one in problems:
        lines[one.code].append(one.message)
    return [(code, lines[code]) for code in KINDS if code in lines]


def shortened(lines: list[str], shown: int = EXAMPLES) -> list[str]:
    """The first examples, and how many more there are."""
    more = len(lines) - shown
    return lines[:shown] + ([f"... and {more} more of this kind"] if more > 0 else [])
