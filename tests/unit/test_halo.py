"""Cluster masses and the expected number of lenses."""

import numpy as np
import pytest

from tandemlens.base.cosmology import efficiency
from tandemlens.sky.counts import expected_pairs
from tandemlens.sky.halo import draw_lens, mass_of_richness


def test_the_reference_count_of_the_whole_sky():
    """0.26 within ten per cent for M_l > 7.5e14/h and M_s > 1e14/h, 7.9 for lenses above 1e14/h."""
    pairs, lenses, sources = expected_pairs(7.5e14, 1e14)
    assert pairs == pytest.approx(0.26, rel=0.1)
    more, many, same = expected_pairs(1e14, 1e14)
    assert more == pytest.approx(7.9, rel=0.1)
    assert many > 50 * lenses
    assert same == sources
    assert 1e-6 / 3 < more / many < 3e-4


def test_counts_follow_the_amplitude_of_structure():
    assert expected_pairs(7.5e14, 1e14, sigma_8=1.0)[0] == pytest.approx(12.4, rel=0.1)


def test_mass_at_the_pivot():
    assert mass_of_richness(40.0, 0.35) == pytest.approx(3.081e14)
    assert mass_of_richness(80.0, 0.35) == pytest.approx(3.081e14 * 2**1.356)


def test_lenses_scatter_around_the_relations():
    rng = np.random.default_rng(1)
    places = rng.uniform(-40, 40, (2, 10))
    facts = [draw_lens(rng, 0.35, 40.0, *places, np.full(10, 0.5))[1] for _ in range(300)]
    mass = np.array([f["m200c"] for f in facts])
    # M200c is some three quarters of M200m at this redshift
    assert np.median(mass) == pytest.approx(0.77 * 3.081e14, rel=0.06)
    assert np.std(np.log(mass)) == pytest.approx(0.25, rel=0.15)
    assert np.std(np.log10([f["c200c"] for f in facts])) == pytest.approx(0.16, rel=0.2)
    assert 3 < np.median([f["c200c"] for f in facts]) < 6
    assert 0.35 < min(f["q"] for f in facts) < 0.6 < max(f["q"] for f in facts) <= 1


def test_members_and_bcg_add_to_the_halo():
    alone = draw_lens(np.random.default_rng(2), 0.3, 60.0, [], [], [])[0]
    full = draw_lens(np.random.default_rng(2), 0.3, 60.0, np.array([8.0]), np.array([0.0]), np.array([1.0]))[0]
    assert len(full.masses) == len(alone.masses) + 1
    near = np.array([9.0])
    eta = efficiency(0.3, 1.0)
    extra = eta * (full.deflection(near, 0 * near)[0] - alone.deflection(near, 0 * near)[0])
    # an L* galaxy of 160 km/s bends by about 0.5 arcsec
    assert 0.1 < extra[0] < 1.0
