"""Whether two pictures show parts of the same place, shifted or turned: crops of one larger photograph do."""
import cv2
import numpy as np

LARGEST_SIDE_PX = 256       # larger pictures are compared at this size
DETAIL_SIGMA_PX = 3.0       # what varies more slowly than this is light, not detail
SMALLEST_SHARE = 0.04       # of a picture that must be shared
PEAK = 8.0                  # standard deviations above which the phase correlation names a place
FLAT = (0.5 / 255) ** 2     # variance of a picture in which there is nothing to be seen
SAME = 0.6                  # correlation of the shared part's detail from which it is the same place


def overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a part of one picture uint8 or uint16 [H, W, 3] is found in the other, in any of eight turns.

    The scale must be the same; light may differ.
    """
    scale = min(1.0, LARGEST_SIDE_PX / max(*first.shape[:2], *second.shape[:2]))
    a, b = _detail(first, scale), _detail(second, scale)
    side = cv2.getOptimalDFTSize(max(a.shape) + max(b.shape))
    spectrum = _spectrum(a, side)
    turns = (np.ascontiguousarray(np.rot90(b[:, ::-1] if k >= 4 else b, k % 4)) for k in range(8))
    return any(_shared(a, turned, spectrum, side) for turned in turns)


def _shared(a: np.ndarray, b: np.ndarray, spectrum: np.ndarray, side: int) -> bool:
    """Whether b shows the same as a, at the shift of the highest phase correlation."""
    surface = np.fft.irfft2(spectrum * np.conj(_spectrum(b, side)), (side, side))
    peak = int(surface.argmax())
    if surface.flat[peak] < PEAK * surface.std():
        return False
    y, x = (value - side if value > side // 2 else value for value in divmod(peak, side))
    here = a[max(0, y):b.shape[0] + y, max(0, x):b.shape[1] + x]
    there = b[max(0, -y):, max(0, -x):][:here.shape[0], :here.shape[1]]
    here = here[:there.shape[0], :there.shape[1]]
    if here.size < SMALLEST_SHARE * a.size:
        return False
    powers = [float((part ** 2).mean()) for part in (here, there)]
    return min(powers) > FLAT and float((here * there).mean()) > SAME * float(np.sqrt(powers[0] * powers[1]))


def _spectrum(picture: np.ndarray, side: int) -> np.ndarray:
    """The phases of the spatial frequencies, all of one weight."""
    rows, columns = (np.hanning(length + 2)[1:-1] ** 0.3 for length in picture.shape)
    spectrum = np.fft.rfft2(picture * np.outer(rows, columns), (side, side))
    return spectrum / (np.abs(spectrum) + 1e-6)


def _detail(image: np.ndarray, scale: float) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.iinfo(image.dtype).max
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_SIGMA_PX)
