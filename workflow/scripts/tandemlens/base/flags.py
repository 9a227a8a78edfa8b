"""Mask bits of every image stack: the single home of each bit and its meaning."""

import numpy as np

NO_DATA = np.uint16(1)
BAD = np.uint16(2)
SATURATED = np.uint16(4)
EDGE = np.uint16(8)

#: bit -> (name, meaning)
BITS = {
    NO_DATA: ("NO_DATA", "outside the image, NaN, or without weight"),
    BAD: ("BAD", "flagged as bad by the survey, or of non-positive variance"),
    SATURATED: ("SATURATED", "saturated or bleeding"),
    EDGE: ("EDGE", "spoiled by resampling or convolution next to an invalid pixel"),
}
