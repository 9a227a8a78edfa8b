"""A sky that is the same whoever looks: stars and galaxies of known place and flux, rendered on any WCS."""

import zlib

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix

BETA = 3.0
#: FWHM of point sources, arcsec, and noise per arcsec of pixel side, nJy, whatever the survey
FWHM = {"u": 1.1, "g": 1.0, "r": 0.95, "i": 0.9, "z": 0.85, "y": 0.9, "VIS": 0.9, "Y": 0.9, "J": 0.9, "H": 0.9}
#: sharper from space
FWHM |= {"F606W": 0.3, "F814W": 0.3, "F160W": 0.36}
SIGMA = 15.0
#: colours relative to r of a star, a field galaxy, a red member and a blue arc, mag
_BANDS = ("u", "g", "r", "VIS", "i", "z", "y", "Y", "J", "H")
_COLOURS = {
    "star": (2.0, 0.6, 0.0, -0.1, -0.2, -0.3, -0.4, -0.4, -0.5, -0.6),
    "galaxy": (1.6, 0.7, 0.0, -0.2, -0.35, -0.6, -0.7, -0.7, -0.9, -1.0),
    "red": (2.8, 1.4, 0.0, -0.3, -0.55, -0.85, -1.0, -1.0, -1.2, -1.4),
    "arc": (0.5, 0.3, 0.0, -0.05, -0.1, -0.3, -0.4, -0.4, -0.5, -0.6),
}
#: bands with the colours of another
_LIKE = {"F606W": "r", "F814W": "i", "F160W": "H"}
_CELLS = HEALPix(2048, order="nested")
#: sources end at this many FWHM
_REACH = 8.0


class Sky:
    """Sources over the whole sky, and richer ones around some places.

    Parameters
    ----------
    clusters : sequence of (ra, dec), deg
        Where a central galaxy, red members and blue arcs stand.
    beacons : sequence of (ra, dec), deg
        Near these stands a star so bright that its flux is known to a part in some thousands.
    """

    def __init__(self, clusters=(), beacons=()):
        self._special = [(ra, dec, self._cluster(ra, dec)) for ra, dec in clusters]
        self._special += [(ra, dec, [self._beacon(ra, dec)]) for ra, dec in beacons]

    def sources(self, ra, dec, radius):
        """Rows (ra, dec, r magnitude, kind, FWHM in that of a star, axis ratio, angle) within `radius` arcsec."""
        cells = _CELLS.cone_search_lonlat(ra * u.deg, dec * u.deg, (radius + 120) * u.arcsec)
        rows = [row for cell in np.sort(cells) for row in self._cell(int(cell))]
        near = SkyCoord(ra, dec, unit="deg")
        for a, d, members in self._special:
            if near.separation(SkyCoord(a, d, unit="deg")).arcsec < radius + 120:
                rows += members
        return rows

    def stars(self, ra, dec, radius):
        """ra, dec and r magnitude of the stars within `radius` arcsec."""
        rows = [r for r in self.sources(ra, dec, radius) if r[3] == "star"]
        places = SkyCoord([r[0] for r in rows], [r[1] for r in rows], unit="deg")
        inside = places.separation(SkyCoord(ra, dec, unit="deg")).arcsec < radius
        return [row[:3] for row, keep in zip(rows, inside, strict=True) if keep]

    def image(self, wcs, shape, band):
        """Noiseless light on pixels, nJy."""
        ny, nx = shape
        out = np.zeros(shape)
        middle = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
        scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        # pixel offsets to arcsec east and north; a TAN projection is even enough for that over a source
        to_sky = wcs.pixel_scale_matrix * 3600
        rows = self.sources(float(middle[0]), float(middle[1]), np.hypot(nx, ny) / 2 * scale)
        if not rows:
            return out
        xs, ys = wcs.all_world2pix([r[0] for r in rows], [r[1] for r in rows], 0)
        for (_, _, mag, kind, size, q, angle), x, y in zip(rows, xs, ys, strict=True):
            fwhm = FWHM[band] * size
            reach = int(np.ceil(_REACH * fwhm / scale))
            x0, x1 = max(round(x) - reach, 0), min(round(x) + reach + 1, nx)
            y0, y1 = max(round(y) - reach, 0), min(round(y) + reach + 1, ny)
            if x0 >= x1 or y0 >= y1:
                continue
            dy, dx = np.mgrid[y0:y1, x0:x1] - np.array([y, x])[:, None, None]
            east, north = (row[0] * dx + row[1] * dy for row in to_sky)
            along = np.sin(angle) * east + np.cos(angle) * north
            across = np.cos(angle) * east - np.sin(angle) * north
            alpha = fwhm / (2 * np.sqrt(2 ** (1 / BETA) - 1))
            profile = (1 + (along**2 + (across / q) ** 2) / alpha**2) ** -BETA
            flux = flux_of(mag, kind, band)
            out[y0:y1, x0:x1] += flux * profile * scale**2 * (BETA - 1) / (np.pi * alpha**2 * q)
        return out

    def observed(self, wcs, shape, band, sigma=None):
        """Light with noise that is the same every time this piece of sky is looked at on this grid; and its sigma."""
        scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        sigma = SIGMA * scale if sigma is None else sigma
        ra, dec = wcs.all_pix2world(0, 0, 0)
        seed = zlib.crc32(f"{float(ra):.5f} {float(dec):.5f} {band} {shape}".encode())
        noise = np.random.default_rng(seed).normal(0, sigma, shape)
        return self.image(wcs, shape, band) + noise, sigma

    def _cell(self, cell):
        rng = np.random.default_rng([7, cell])
        count = rng.poisson(9)
        fraction = rng.uniform(0, 1, (2, count))
        lon, lat = _CELLS.healpix_to_lonlat(np.full(count, cell), *fraction)
        kinds = np.where(rng.uniform(size=count) < 0.4, "star", "galaxy")
        mags = np.where(kinds == "star", rng.uniform(17.5, 22, count), rng.uniform(19, 24, count))
        size = np.where(kinds == "star", 1.0, rng.uniform(1.3, 2.2, count))
        q = np.where(kinds == "star", 1.0, rng.uniform(0.4, 1.0, count))
        angle = rng.uniform(0, np.pi, count)
        return [tuple(v) for v in zip(lon.deg, lat.deg, mags, kinds, size, q, angle, strict=True)]

    @staticmethod
    def _beacon(ra, dec):
        at = SkyCoord(ra, dec, unit="deg").directional_offset_by(50 * u.deg, 6 * u.arcsec)
        return at.ra.deg, at.dec.deg, 13.5, "star", 1.0, 1.0, 0.0

    @staticmethod
    def _cluster(ra, dec):
        rng = np.random.default_rng(zlib.crc32(f"{ra:.5f} {dec:.5f}".encode()))
        centre = SkyCoord(ra, dec, unit="deg")
        rows = [(ra, dec, 17.5, "red", 4.0, 0.8, 0.3)]
        for _ in range(15):
            at = centre.directional_offset_by(rng.uniform(0, 360) * u.deg, 50 * np.sqrt(rng.uniform()) * u.arcsec)
            rows.append(
                (at.ra.deg, at.dec.deg, rng.uniform(19, 22), "red", 1.6, rng.uniform(0.6, 1), rng.uniform(0, 3))
            )
        for _ in range(5):
            way, radius = rng.uniform(0, 360), rng.uniform(10, 22)
            at = centre.directional_offset_by(way * u.deg, radius * u.arcsec)
            # the long axis of an arc is at right angles to the way to the centre
            rows.append((at.ra.deg, at.dec.deg, rng.uniform(20.5, 21.5), "arc", 4.5, 0.22, np.radians(way + 90)))
        return rows


def flux_of(mag, kind, band):
    """Flux in nJy of a source of r magnitude `mag`."""
    return 10 ** (0.4 * (31.4 - mag - _COLOURS[str(kind)][_BANDS.index(_LIKE.get(band, band))]))


def psf(scale, band, size=41):
    """The PSF on pixels of `scale` arcsec, sum 1."""
    alpha = FWHM[band] / (2 * np.sqrt(2 ** (1 / BETA) - 1)) / scale
    place = np.arange(size) - size // 2
    profile = (1 + (place[None] ** 2 + place[:, None] ** 2) / alpha**2) ** -BETA
    return profile / profile.sum()
