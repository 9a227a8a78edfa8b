"""Galaxies that look like lenses: spirals whose arms resemble arcs, rings, mergers with tidal tails."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tandemlens.base.cosmology import kpc_per_arcsec
from tandemlens.base.galaxies import star_magnitude
from tandemlens.sky.paint import Galaxy, Picture

if TYPE_CHECKING:
    from tandemlens.sky.spectra import Spectra

#: side of a picture, pixel
_SIDE = 257
#: half-light radius of a disc of L* in kpc, slope with luminosity, scatter in dex (Shen et al. 2003), and its limits
_DISC_KPC, _DISC_SLOPE, _DISC_SCATTER, _DISC_LIMITS = 5.5, 0.3, 0.13, (1.5, 14.0)
#: half-light radius of an exponential disc over its scale length
_HALF_LIGHT = 1.678
#: spread of adjacent colours, mag, and by how much young stars are bluer in them than the template (from memory)
_SCATTER, _YOUNG = 0.06, (0.05, 0.2)
#: bulges: radius over that of the disc, Sersic index, axis ratio face on (from memory, after Gadotti 2009)
_BULGE_SIZE, _BULGE_N, _BULGE_Q = (0.12, 0.3), (1.0, 4.0), (0.8, 1.0)
#: spirals: bulge share of early to late types; pitch angle in deg (Kennicutt 1981); share of arms in the disc's light
#: and of barred galaxies, a bar's share, axis ratio and radius over the disc's (from memory)
_BULGE_SHARE, _PITCH, _ARM_SHARE = (0.03, 0.4), (10.0, 35.0), (0.2, 0.65)
_BARRED, _BAR_SHARE, _BAR_Q, _BAR_SIZE = 0.4, (0.05, 0.15), (0.2, 0.45), (0.2, 0.4)
#: numbers of arms and how often each (from memory); concentration of an arm across itself, 1 broad and 12 narrow
_ARMS, _ARMS_SHARE, _ARM_NARROW = (2, 3, 4), (0.55, 0.2, 0.25), (1.0, 12.0)
#: an arm begins and ends at so many scale lengths; ln scatter of its clumps; depth of the dust lane (from memory)
_ARM_START, _ARM_END, _CLUMPS, _DUST = (0.4, 1.2), (2.2, 4.5), (0.3, 1.1), (0.0, 0.5)
#: face on enough for arms and rings to show: cosine of the inclination
_COSINE = (0.45, 1.0)
#: rings: radius in kpc and width over radius (Theys & Spiegel 1976; Hoag's own has 0.3), share of collisional ones,
#: their nucleus off the middle and their uneven brightness; share of the core and of the light inside (from memory)
_RING_KPC, _RING_WIDTH, _COLLISIONAL = (3.0, 10.0), (0.08, 0.35), 0.6
_RING_OFFSET, _RING_UNEVEN, _CORE_SHARE, _INNER_SHARE = (0.05, 0.5), (0.2, 0.9), (0.2, 0.7), (0.02, 0.25)
_CORE_KPC = (0.6, 2.5)
#: mergers: mass ratio, pericentre in kpc, speed over that of escape, time since the closest passage in Gyr, which sets
#: the length of the tails (ranges after Toomre & Toomre 1972 and Barnes 1992); share of old galaxies (from memory)
_RATIO, _PERICENTRE, _SPEED, _SINCE, _OLD = (0.15, 1.0), (3.0, 20.0), (0.75, 1.0), (0.08, 0.7), 0.25
#: halo of an L* galaxy (Hernquist 1990): peak rotation in km/s, scale in kpc; of other ones by the Tully-Fisher slope
_ROTATION, _HALO_KPC, _TULLY_FISHER = 220.0, 12.0, 0.27
#: stars that trace each disc, the neighbour whose distance smooths them, and how far out they are shown, kpc
_STARS, _NEIGHBOUR, _FARTHEST_STAR = 4000, 24, 80.0
#: time before the closest passage at which discs are still undisturbed, and time step, Gyr; kpc / (km/s) in Gyr
_BEFORE, _STEP, _GYR = 0.3, 0.002, 0.9778


def draw_spiral(rng: np.random.Generator, z: float, mag: float, spectra: "Spectra", x: float, y: float) -> list[Galaxy]:
    """Spiral galaxy seen well enough from above: bulge, sometimes a bar, disc with dust lanes, arms of young stars.

    The arms are logarithmic spirals (Kennicutt 1981) that wander, differ in strength and break into clumps.

    Parameters
    ----------
    rng : numpy.random.Generator
    z : float
    mag : float
        Of the whole, in the band that the magnitudes of the spectra are of.
    spectra : tandemlens.sky.spectra.Spectra
    x, y : float, arcsec
        Of the nucleus, west and north of the target.

    Returns
    -------
    list of Galaxy
        Of kind ``spiral``.
    """
    base = _Base(rng, "spiral", z, mag, spectra, x, y)
    r_e = _disc_size(rng, z, mag)
    cosine, angle = rng.uniform(*_COSINE), rng.uniform(0, np.pi)
    bulge = rng.uniform(*_BULGE_SHARE)
    bar = rng.uniform(*_BAR_SHARE) if rng.uniform() < _BARRED else 0.0
    arms = rng.uniform(*_ARM_SHARE) * (1 - bulge - bar)
    # a round bulge flattens less than the disc around it
    q = max(rng.uniform(*_BULGE_Q) * (1 + cosine) / 2, cosine)
    size = r_e * rng.uniform(*_BULGE_SIZE)
    out = [base.sersic("elliptical", bulge, size, rng.uniform(*_BULGE_N), q, angle)]
    disc, arm, spin = _spiral_pictures(rng, r_e / _HALF_LIGHT, cosine)
    if bar:
        length = r_e * rng.uniform(*_BAR_SIZE)
        turned, shorter = _projected(spin, cosine)
        # inclination shrinks the bar's area by the cosine whichever way it points
        q_bar = min(rng.uniform(*_BAR_Q) * cosine / shorter**2, 1.0)
        out.append(base.sersic("elliptical", bar, length * shorter, 0.5, q_bar, angle + turned))
    out.append(base.pictured("spiral", 1 - bulge - bar - arms, disc, r_e, cosine, angle))
    out.append(base.pictured("spiral", arms, arm, r_e, cosine, angle, young=True))
    return out


def draw_ring(rng: np.random.Generator, z: float, mag: float, spectra: "Spectra", x: float, y: float) -> list[Galaxy]:
    """Ring galaxy: an old core in a ring of young stars, even as in Hoag's object or off-centre after a collision.

    Parameters
    ----------
    rng, z, mag, spectra, x, y
        As for `draw_spiral`; the place is that of the core.

    Returns
    -------
    list of Galaxy
        Of kind ``ring``.
    """
    base = _Base(rng, "ring", z, mag, spectra, x, y)
    radius = np.exp(rng.uniform(*np.log(_RING_KPC)))
    width = rng.uniform(*_RING_WIDTH)
    collided = rng.uniform() < _COLLISIONAL
    cosine, angle = rng.uniform(*_COSINE), rng.uniform(0, 2 * np.pi)
    uneven = rng.uniform(*_RING_UNEVEN) if collided else 0.15
    offset = rng.uniform(*_RING_OFFSET) * radius if collided else 0.0
    core, inner = rng.uniform(*_CORE_SHARE), rng.uniform(*_INNER_SHARE)
    half = radius * (1 + 4 * width)
    r, phi, step = _plane(half, cosine)
    clumps = _texture(rng, np.log(np.maximum(r, 0.1 * radius)), phi, rng.uniform(*_CLUMPS))
    ring = np.exp(-0.5 * ((r - radius) / (width * radius)) ** 2) * (1 + uneven * np.cos(phi)) * clumps
    inside = np.exp(-r / radius) / (1 + np.exp((r - radius) / (width * radius)))
    turned, shorter = _projected(rng.uniform(0, 2 * np.pi), cosine)
    away = offset * shorter
    moved = base.moved(away * np.cos(angle + turned), away * np.sin(angle + turned))
    size = min(rng.uniform(*_CORE_KPC), 0.35 * radius)
    return [
        base.sersic("elliptical", core, size, rng.uniform(*_BULGE_N), rng.uniform(0.7, 1.0), angle),
        moved.pictured("spiral", (1 - core) * inner, _picture(inside, step), radius, cosine, angle),
        moved.pictured("spiral", (1 - core) * (1 - inner), _picture(ring, step), radius, cosine, angle, young=True),
    ]


def draw_merger(rng: np.random.Generator, z: float, mag: float, spectra: "Spectra", x: float, y: float) -> list[Galaxy]:
    """Two galaxies that have passed each other, with the tails, bridges and shells this draws from their discs.

    Stars are test particles around two Hernquist halos on a bound or parabolic orbit, as in Toomre & Toomre (1972).

    Parameters
    ----------
    rng, z, mag, spectra, x, y
        As for `draw_spiral`; the place is that of the heavier nucleus.

    Returns
    -------
    list of Galaxy
        Of kind ``merger``.
    """
    base = _Base(rng, "merger", z, mag, spectra, x, y)
    ratio = rng.uniform(*_RATIO)
    shares = np.array([1, ratio]) / (1 + ratio)
    light = 10 ** (-0.4 * (mag - star_magnitude(z))) * shares
    sizes = [_disc_size(rng, z, mag - 2.5 * np.log10(s)) for s in shares]
    nuclei, stars = _encounter(rng, light, sizes)
    out = []
    for nucleus, cloud, share, r_e in zip(nuclei, stars, shares, sizes, strict=True):
        old = rng.uniform() < _OLD
        bulge = rng.uniform(*_BULGE_SHARE)
        at = base.moved(*(nucleus - nuclei[0]))
        size, n = r_e * rng.uniform(*_BULGE_SIZE), rng.uniform(*_BULGE_N)
        out.append(at.sersic("elliptical", share * bulge, size, n, rng.uniform(*_BULGE_Q), rng.uniform(0, np.pi)))
        picture, middle = _star_picture(cloud)
        at = base.moved(*(middle - nuclei[0]))
        out.append(at.pictured("elliptical" if old else "spiral", share * (1 - bulge), picture, r_e, 1.0, 0.0))
    return out


@dataclass(frozen=True)
class _Base:
    """What the parts of one galaxy share; lengths given to it are in kpc."""

    rng: np.random.Generator
    kind: str
    z: float
    mag: float
    spectra: "Spectra"
    x: float
    y: float

    def sersic(self, template: str, share: float, r_e: float, n: float, q: float, angle: float) -> Galaxy:
        size = r_e / kpc_per_arcsec(self.z)
        return Galaxy(self.kind, self.x, self.y, self.z, size, n, q, angle, self._flux(template, share, 0.0))

    def pictured(
        self, template: str, share: float, picture: Picture, r_e: float, q: float, angle: float, young: bool = False
    ) -> Galaxy:
        flux = self._flux(template, share, self.rng.uniform(*_YOUNG) if young else 0.0)
        arcsec = 1 / kpc_per_arcsec(self.z)
        shape = r_e * arcsec, 1.0, q, angle
        return Galaxy(self.kind, self.x, self.y, self.z, *shape, flux, picture.rescaled(arcsec))

    def moved(self, dx: float, dy: float) -> "_Base":
        arcsec = 1 / kpc_per_arcsec(self.z)
        place = self.x + dx * arcsec, self.y + dy * arcsec
        return _Base(self.rng, self.kind, self.z, self.mag, self.spectra, *place)

    def _flux(self, template: str, share: float, bluer: float) -> np.ndarray:
        scatter = self.rng.normal(-bluer, _SCATTER, self.spectra.n_band - 1)
        return self.spectra.flux(template, self.z, self.mag - 2.5 * np.log10(share), scatter)


def _disc_size(rng: np.random.Generator, z: float, mag: float) -> float:
    """Half-light radius of a disc, kpc."""
    light = 10 ** (-0.4 * (mag - star_magnitude(z)))
    return float(np.clip(_DISC_KPC * light**_DISC_SLOPE * 10 ** rng.normal(0, _DISC_SCATTER), *_DISC_LIMITS))


def _plane(half: float, cosine: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Radius and azimuth in the plane of a disc for the pixels of a picture of so many kpc from middle to edge."""
    step = 2 * half / _SIDE
    axis = (np.arange(_SIDE) - _SIDE // 2) * step
    across = axis[:, None] / cosine
    return np.hypot(axis[None], across), np.arctan2(across, axis[None]), step


def _picture(light: np.ndarray, step: float) -> Picture:
    return Picture((light / light.sum()).astype(np.float32), step)


def _projected(spin: float, cosine: float) -> tuple[float, float]:
    """Angle and length, as seen, of a unit vector in the plane of a disc."""
    x, y = np.cos(spin), np.sin(spin) * cosine
    return np.arctan2(y, x), np.hypot(x, y)


def _spiral_pictures(rng: np.random.Generator, scale: float, cosine: float) -> tuple[Picture, Picture, float]:
    """Disc, arms, and azimuth at which an arm begins; scale length in kpc."""
    r, phi, step = _plane(5 * scale, cosine)
    start, end = rng.uniform(*_ARM_START) * scale, rng.uniform(*_ARM_END) * scale
    pitch, count = np.deg2rad(rng.uniform(*_PITCH)), rng.choice(_ARMS, p=_ARMS_SHARE)
    hand, spin = rng.choice((-1, 1)), rng.uniform(0, 2 * np.pi)
    turns = np.log(np.maximum(r, 0.1 * scale) / start) / np.tan(pitch)
    wander = rng.uniform(0, 0.4) * np.sin(rng.uniform(1, 3) * np.log(np.maximum(r, step) / start) + rng.uniform(0, 7))
    along = hand * (phi - spin) - turns - wander
    narrow = rng.uniform(*_ARM_NARROW)
    middles = 2 * np.pi * np.arange(count) / count + rng.normal(0, 0.15, count)
    strengths = np.exp(rng.normal(0, 0.3, count))
    ridge = sum(s * np.exp(narrow * (np.cos(along - m) - 1)) for s, m in zip(strengths, middles, strict=True))
    # dust lies at the inner edge of an arm
    lane = sum(np.exp(4 * narrow * (np.cos(along - m + 0.6 / np.sqrt(narrow)) - 1)) for m in middles)
    span = 1 / (1 + np.exp(-(r - start) / (0.15 * start))) / (1 + np.exp((r - end) / (0.2 * scale)))
    clumps = _texture(rng, np.log(np.maximum(r, 0.3 * scale)), along, rng.uniform(*_CLUMPS))
    disc = np.exp(-r / scale) / (1 + np.exp((r - 4.7 * scale) / (0.1 * scale)))
    arms = np.exp(-r / (1.3 * scale)) * (ridge + 0.15) * span * clumps
    dusty = disc * (1 - rng.uniform(*_DUST) * np.clip(lane, 0, 1) * span)
    return _picture(dusty, step), _picture(arms, step), spin + hand * middles[0]


def _texture(rng: np.random.Generator, along: np.ndarray, around: np.ndarray, scatter: float) -> np.ndarray:
    """Log-normal clumps of mean 1, smooth in two coordinates of which the second is an angle."""
    coarse = gaussian_filter(rng.normal(size=(256, 256)), (5.0, 6.0), mode="wrap")
    fine = gaussian_filter(rng.normal(size=(256, 256)), (1.5, 2.0), mode="wrap")
    field = scatter * (coarse / coarse.std() + fine / fine.std()) / np.sqrt(2)
    value = map_coordinates(field, (along * 50, around * 256 / (2 * np.pi)), order=1, mode="grid-wrap")
    return np.exp(value - scatter**2 / 2)


def _encounter(
    rng: np.random.Generator, light: np.ndarray, sizes: list[float]
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Places on the sky (kpc) of two nuclei (2, 2) and of the stars of their discs, each (n, 2)."""
    halo = _HALO_KPC * np.sqrt(light).clip(0.4, 2)
    pull = 4 * halo * (_ROTATION * light**_TULLY_FISHER) ** 2
    nuclei = _integrate(_closest_passage(rng, pull, halo), pull, halo, -_BEFORE)
    discs = [_disc(rng, r_e / _HALF_LIGHT, k, a) for r_e, k, a in zip(sizes, pull, halo, strict=True)]
    start = np.concatenate([nuclei, *(nuclei[:, k, None] + disc for k, disc in enumerate(discs))], axis=1)
    places = _integrate(start, pull, halo, _BEFORE + rng.uniform(*_SINCE))[0]
    seen = Rotation.random(rng=rng).apply(places)[:, :2]
    return seen[:2], (seen[2 : 2 + _STARS], seen[2 + _STARS :])


def _closest_passage(rng: np.random.Generator, pull: np.ndarray, halo: np.ndarray) -> np.ndarray:
    """Places (kpc) and speeds (km/s), (2, 2, 3), of two nuclei at their pericentre."""
    gap = rng.uniform(*_PERICENTRE)
    speed = rng.uniform(*_SPEED) * np.sqrt(2 * (pull / (gap + halo)).sum())
    weight = np.array([-pull[1], pull[0]])[:, None] / pull.sum()
    return np.stack([weight * (gap, 0, 0), weight * (0, speed, 0)])


def _disc(rng: np.random.Generator, scale: float, pull: float, halo: float) -> np.ndarray:
    """Places and speeds, (2, n, 3), of stars of an exponential disc of random spin in a Hernquist halo."""
    r = rng.gamma(2, scale, _STARS)
    r = np.where(r < 5 * scale, r, scale * rng.uniform(0.5, 3, _STARS))
    phi = rng.uniform(0, 2 * np.pi, _STARS)
    speed = np.sqrt(pull * r) / (r + halo)
    place = np.stack([r * np.cos(phi), r * np.sin(phi), rng.normal(0, 0.1 * scale, _STARS)], axis=1)
    around = np.stack([-speed * np.sin(phi), speed * np.cos(phi), np.zeros(_STARS)], axis=1)
    spin = Rotation.random(rng=rng)
    return np.stack([spin.apply(place), spin.apply(around + rng.normal(0, 0.08, (_STARS, 3)) * speed[:, None])])


def _integrate(state: np.ndarray, pull: np.ndarray, halo: np.ndarray, duration: float) -> np.ndarray:
    """Leapfrog of places and speeds (2, n, 3), of which the first two carry the halos, for a time in Gyr."""
    at, speed = state
    count = int(np.ceil(abs(duration) / _STEP))
    step = duration / count / _GYR
    at = at + speed * step / 2
    for _ in range(count):
        speed = speed + _acceleration(at, pull, halo) * step
        at = at + speed * step
    return np.stack([at - speed * step / 2, speed])


def _acceleration(at: np.ndarray, pull: np.ndarray, halo: np.ndarray) -> np.ndarray:
    out = np.zeros_like(at)
    for nucleus, k, a in zip(at[:2], pull, halo, strict=True):
        gap = nucleus - at
        r = np.sqrt((gap**2).sum(1, keepdims=True)) + 1e-9
        out += k * gap / (r * (r + a) ** 2)
    return out


def _star_picture(cloud: np.ndarray) -> tuple[Picture, np.ndarray]:
    """Picture of stars at (n, 2) places, each spread over the distance of its neighbours, and its middle in kpc."""
    low, high = np.percentile(cloud, (0.5, 99.5), axis=0)
    middle, half = (low + high) / 2, min(0.55 * (high - low).max(), _FARTHEST_STAR)
    step = 2 * half / _SIDE
    width = cKDTree(cloud).query(cloud, _NEIGHBOUR)[0][:, -1] / 2 / step
    levels = np.geomspace(1, 30, 10)
    level = np.searchsorted(levels[1:-1], width)
    edges = (np.arange(_SIDE + 1) - _SIDE / 2) * step
    light = np.zeros((_SIDE, _SIDE))
    for k, spread in enumerate(levels):
        x, y = (cloud[level == k] - middle).T
        light += gaussian_filter(np.histogram2d(y, x, (edges, edges))[0], spread, mode="constant")
    return _picture(light, step), middle
