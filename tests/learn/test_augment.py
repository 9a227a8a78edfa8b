"""Synthetic systems: what of an anchor stays, what is accepted, who inherits what, and what if nothing can."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from places import defaults
from tandemlens.base.errors import InputError
from tandemlens.base.tables import read_table
from tandemlens.features.stamps import GEOMETRY
from tandemlens.learn.anchors import Acceptance, changes, kept_pixels, light_pixels, measure, pixel_snr, refusals
from tandemlens.learn.augment import Maker, Order, augment_shard, order_variants, settings_of
from tandemlens.learn.bags import Bags
from tandemlens.learn.conditions import LOOKS, PHYSICAL, Conditions, coarse_looks, physical
from tandemlens.learn.generated_checks import band_ratios, compare, copied, profiles, told_apart
from tandemlens.learn.generator import fit_generator, load_generator
from tandemlens.learn.generator_checks import check_generator
from tandemlens.learn.positives import Positives, make_positives
from tandemlens.learn.pretrain_task import PretrainTask
from tandemlens.learn.sky_noise import SkyNoise, blank_noise, lit_pixels
from tandemlens.learn.stamps import Stamps, open_stamps, stamp_blocks
from tandemlens.learn.synthetic import with_synthetic

SIDE, BANDS = 16, ["g", "r"]


CFG = {
    **defaults("generator"),
    **{"channels": [8, 16], "epochs": 2, "batch": 16, "device": "cpu", "seed": 3, "threads": 1, "code": ""},
}
AUGMENT = {**defaults("augment"), "device": "cpu", "seed": 3, "threads": 1, "varied": 2, "variants": 1}
# the centre's stamp, which the default leaves alone, is the other kind
AUGMENT["centre"] = True
AUGMENT["sampling"] = {**AUGMENT["sampling"], "steps": 3, "resample": 1}
#: nothing is refused
ANYTHING = dict.fromkeys(AUGMENT["accept"], 1e9)
LIMITS = Acceptance(0.1, 0.05, 0.2, 15)


def quiet(done, total):
    pass


def arc(length, angle, colour=(1.0, 2.0), place=(0, 0)):
    """A bar of light in two bands, in units of the scale."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    x, y = x - place[0], y - place[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bar = 8 * np.exp(-0.5 * ((along / length) ** 2 + across**2))
    return np.reshape(colour, (2, 1, 1)) * bar


def stamps_of(images, rng, label, geometry):
    flux = np.arcsinh(images + 0.3 * rng.normal(size=images.shape)).astype(np.float16)
    n = len(images)
    facts = np.full(flux.shape, 0.3, np.float16), np.ones(flux.shape, bool), geometry.astype(np.float32)
    return Stamps(flux, *facts, np.array(label, np.int32), np.zeros(n, np.int32))


def system(rng, n=3):
    """A centre and n - 1 segments, the first an arc."""
    images = np.stack([arc(2, rng.uniform(0, 3), (1, 3)) for _ in range(n)])
    geometry = np.zeros((n, len(GEOMETRY)))
    geometry[0, GEOMETRY.index("is_centre")] = 1
    geometry[1:, GEOMETRY.index("radius_arcsec")] = 5
    geometry[1:, GEOMETRY.index("cos_azimuth")] = 1
    geometry[1:, GEOMETRY.index("log_snr")] = 1.5
    geometry[1, GEOMETRY.index("is_arc")] = 1
    geometry[2:, GEOMETRY.index("is_member")] = 1
    return stamps_of(images, rng, range(n), geometry)


def write(path, systems):
    counts = [len(stamps) if stamps is not None else 0 for stamps in systems.values()]
    whole = Stamps.concatenate([stamps for stamps in systems.values() if stamps is not None])
    with h5py.File(path, "w") as out:
        out.attrs.update({"bands": BANDS, "geometry": GEOMETRY, "scale": [3.0, 3.0]})
        out.attrs.update({"pixel_scale": 0.25, "size_arcsec": 4.0, "centre_arcsec": 16.0})
        for name in ("flux", "sigma", "mask", "geometry", "label"):
            out[name] = getattr(whole, name)
        out["target"] = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        out["start"] = np.concatenate([[0], np.cumsum(counts)])
        out.create_dataset("target_id", data=list(systems), dtype=h5py.string_dtype())
    return str(path)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """30 systems of 3 stamps, one without any; two thirds in role train."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("stamps")
    names = [f"t{k:02d}" for k in range(30)]
    made = {name: system(rng) for name in names}
    made["t04"] = None
    paths = [write(folder / f"{k}.h5", dict(list(made.items())[low : low + 15])) for k, low in enumerate((0, 15))]
    systems = pd.DataFrame(
        {
            **{"target_id": names, "class": "tandem", "label": np.arange(30) % 2 == 0, "artefact": ""},
            **{"theta_e": 5.0 + np.arange(30) / 10, "z": 0.4, "z_source": np.where(np.arange(30) % 3, 1.0, np.nan)},
            **{"n_seen": 2, "fwhm_g": 1.0, "fwhm_r": 0.8, "depth_g": 26.0, "depth_r": 25.0},
        }
    )
    roles = np.array(["train", "train", "stop"])[np.arange(30) % 3]
    folds = pd.DataFrame({"target_id": names, "group": [f"g{k // 3}" for k in range(30)], "role": roles, "reason": ""})
    return systems, folds, paths


def fitted(sample, folder, cfg=CFG, progress=quiet):
    systems, folds, paths = sample
    fit_generator(systems, folds, paths, folder / "generator", folder / "g.ckpt", cfg, progress)
    return json.loads((folder / "generator/generator.json").read_text())


@pytest.fixture(scope="module")
def generator(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    facts = fitted(sample, folder)
    assert facts["trained"], facts
    return folder / "generator", facts


def augmented(sample, generator, folder, **changes):
    systems, folds, paths = sample
    out = folder / "synthetic.h5", folder / "synthetic.parquet"
    augment_shard(paths[0], systems, folds, generator, *out, {**AUGMENT, **changes}, quiet)
    return str(out[0]), read_table(out[1])


def test_what_is_seen_at_a_place_is_found():
    image, sigma, mask = np.arcsinh(arc(3, 0.0)), np.full((2, SIDE, SIDE), 0.3), np.ones((2, SIDE, SIDE), bool)
    middle = [[7.5, 7.5]]
    light = light_pixels(pixel_snr(image, sigma, mask), middle, 99)
    rows, columns = np.nonzero(light)
    assert np.ptp(columns) > 1.5 * np.ptp(rows) > 0
    assert light_pixels(pixel_snr(image, sigma, mask), middle, 2).sum() <= 16
    # nothing is seen: a disc
    empty = light_pixels(np.zeros((SIDE, SIDE)), middle, 99)
    assert empty.sum() == 12
    # what lies apart belongs to another place
    both = np.arcsinh(arc(1, 0.0) + arc(1, 0.0, place=(6, 6)))
    assert not light_pixels(pixel_snr(both, sigma, mask), middle, 99)[12:, 12:].any()
    kept = kept_pixels(light)
    assert (kept[light]).all()
    assert kept.sum() > light.sum()


def seen(image, noise=0.0):
    image = np.arcsinh(image)
    sigma, mask = np.full(image.shape, 0.02), np.ones(image.shape, bool)
    return measure(image, sigma, mask, light_pixels(pixel_snr(image, sigma, mask), [[7.5, 7.5]], 99))


def test_light_is_measured():
    light = seen(arc(2, 0.5))
    np.testing.assert_allclose(light.flux, [8 * 4 * np.pi, 16 * 4 * np.pi], rtol=0.01)
    assert light.length == pytest.approx(2, rel=0.05)
    assert light.ratio == pytest.approx(2, rel=0.06)
    assert light.angle % np.pi == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("variant", "refused"),
    [
        (arc(2, 0.5), []),
        (1.05 * arc(2, 0.5), []),
        (1.2 * arc(2, 0.5), ["flux"]),
        (arc(2, 0.5, (1.0, 1.97)), []),
        (arc(2, 0.5, (0.95, 2.05)), ["colour_mag"]),
        (arc(2, 0.9), ["turn_deg"]),
        (arc(2, 0.55), []),
        (arc(3, 0.5, (2 / 3, 4 / 3)), ["length"]),
    ],
)
def test_a_variant_that_no_longer_shows_the_arc_is_refused(variant, refused):
    assert refusals(changes(seen(arc(2, 0.5)), seen(variant)), LIMITS) == refused


def test_a_colour_within_the_limit_passes_and_light_that_is_gone_does_not():
    by = changes(seen(arc(2, 0.5)), seen(arc(2, 0.5, (1.0, 2.0 * 10 ** (0.4 * 0.049)))))
    assert by["colour_mag"] == pytest.approx(0.049, abs=1e-3)
    assert "flux" in refusals(changes(seen(arc(2, 0.5)), seen(0 * arc(2, 0.5))), LIMITS)
    assert refusals({"flux": np.nan, "colour_mag": 0, "length": 0, "turn_deg": 0}, LIMITS) == ["flux"]


def test_conditions_are_scaled_and_clipped_and_leave_open_what_is_unknown(caplog):
    rng = np.random.default_rng(0)
    facts, images = rng.normal(5, 2, (200, 3)), rng.normal(size=(200, 2, SIDE, SIDE))
    facts[::2, 1] = np.nan
    conditions = Conditions.fit(facts, images)
    found = conditions(facts, images)
    assert found.shape == (200, 3 + LOOKS) == (200, conditions.width)
    np.testing.assert_allclose(np.nanmean(found, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(found, 0), 1, atol=1e-5)
    assert np.isnan(found[::2, 1]).all()
    assert np.isnan(conditions(facts)[:, 3:]).all()
    assert "outside" not in caplog.text
    far = conditions(np.array([[99.0, 5, 5], [5, 5, 5]]))
    assert far[0, 0] == pytest.approx(found[:, 0].max())
    assert "conditions of 1 of 2 stamps lie outside the range of the training sample and are moved" in caplog.text
    with pytest.raises(InputError, match="16 stamps are too few to learn their looks from"):
        Conditions.fit(facts[:16], images[:16])


def test_looks_are_means_over_boxes():
    image = np.arange(24 * 24.0).reshape(1, 1, 24, 24)
    boxes = image.reshape(12, 2, 12, 2).mean((1, 3))
    np.testing.assert_allclose(coarse_looks(image)[0], boxes.ravel())


def test_physics_of_a_system(sample):
    known = physical(sample[0])
    assert tuple(known) == PHYSICAL
    assert known.loc["t01"].tolist() == [5.1, 0.4, 1.0, 0.9, 25.5]
    assert np.isnan(known.loc["t00", "z_source"])
    assert np.isnan(physical(sample[0].assign(fwhm_g=np.nan, fwhm_r=np.nan))["seeing"]).all()


def test_the_generator_sees_role_train_alone_and_comes_back(sample, generator):
    folder, facts = generator
    # 20 systems of role train, t04 among them without stamps
    assert (facts["systems"], facts["stamps"], facts["ended"]) == (20, 19 * 3, "all 2 epochs done")
    assert facts["curve"][1]["loss"] < facts["curve"][0]["loss"]
    with open_stamps(sample[2][0]) as file:
        found = load_generator(folder, sample[2][0], file.format)
    assert found.conditions.width == len(PHYSICAL) + len(GEOMETRY) + LOOKS
    assert sorted(p.name for p in folder.parent.iterdir()) == ["generator"]


class Killed(Exception):
    """A stop at any point."""


def test_stopped_training_ends_with_the_same_weights(sample, generator, tmp_path, monkeypatch):
    step = PretrainTask.on_train_epoch_start

    def stopped(self):
        if self.current_epoch == 1:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainTask, "on_train_epoch_start", stopped)
        with pytest.raises(Killed):
            fitted(sample, tmp_path)
    assert (tmp_path / "g.ckpt").exists()
    said = []
    facts = fitted(sample, tmp_path, progress=lambda done, total: said.append(done))
    assert (said, facts) == ([2], generator[1])
    one, two = ((folder / "weights.safetensors").read_bytes() for folder in (generator[0], tmp_path / "generator"))
    assert one == two


def test_too_small_a_sample_has_no_generator_and_no_synthetic_system(sample, tmp_path, caplog):
    systems, folds, paths = sample
    facts = fitted((systems, folds.assign(role="stop"), paths), tmp_path)
    assert not facts["trained"]
    assert facts["reason"].startswith("0 stamps are too few to")
    path, table = augmented(sample, tmp_path / "generator", tmp_path)
    assert set(table["status"]) == {"no_generator"}
    assert len(table) == 9
    assert table["reason"].str.contains("there is no generator in .*: 0 stamps are too few").all()
    assert Bags([path]).target_ids == []
    with pytest.raises(InputError, match="there is no generator in"):
        make_positives(paths[0], systems, folds, tmp_path / "generator", tmp_path / "p.h5", POSITIVES, quiet)
    check_generator(
        paths, systems, folds, tmp_path / "generator", tmp_path / "c.parquet", tmp_path / "c.h5", AUGMENT, quiet
    )
    assert len(read_table(tmp_path / "c.parquet")) == 0
    assert "the generator is not checked: there is no generator" in caplog.text


def test_restored_systems_keep_the_light_and_inherit_the_rest(sample, generator, tmp_path):
    systems, folds, paths = sample
    path, table = augmented(sample, generator[0], tmp_path, accept=ANYTHING)
    # ten of fifteen are in role train, and one of those has no stamp
    assert (len(table), set(table["status"]), set(table["pool"]), set(table["varied"])) == (
        9,
        {"ok"},
        {"restored"},
        {2},
    )
    bags = Bags([path])
    assert bags.target_ids == table["target_id"].tolist()
    assert bags.filled.all()
    # as any other file of stamps of the run
    stamp_blocks([*paths, path], 8)
    maker = maker_of(sample, generator)
    with open_stamps(path) as made, open_stamps(paths[0]) as source:
        for k, anchor in enumerate(table["anchor"]):
            old, new = source.system(source.target_ids.index(anchor)), made.system(k)
            rows, light = maker.choose(old)
            assert rows.tolist() == [0, 1]
            kept = kept_pixels(light[0]) | kept_pixels(light[1])
            for row, pixels in zip(rows, light, strict=True):
                kept = np.broadcast_to(kept_pixels(pixels), old.flux[row].shape)
                np.testing.assert_array_equal(new.flux[row][kept], old.flux[row][kept])
                assert (new.flux[row][~kept] != old.flux[row][~kept]).mean() > 0.9
            np.testing.assert_array_equal(new.flux[2], old.flux[2])
            for name in ("sigma", "mask", "geometry", "label"):
                np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
    more, roles = with_synthetic(systems, folds, [str(tmp_path / "synthetic.parquet")])
    assert len(more) == len(roles) == 39
    inherited = roles.set_index("target_id").loc[table["target_id"], ["group", "role"]].to_numpy()
    assert (inherited == folds.set_index("target_id").loc[table["anchor"], ["group", "role"]].to_numpy()).all()
    assert set(inherited[:, 1]) == {"train"}
    labels = more.set_index("target_id")["label"]
    assert (labels[table["target_id"]].to_numpy() == labels[table["anchor"]].to_numpy()).all()
    assert with_synthetic(systems, folds, []) == (systems, folds)


def test_the_wide_stamp_is_left_alone_unless_it_is_asked_for(sample, generator, tmp_path):
    path, table = augmented(sample, generator[0], tmp_path, accept=ANYTHING, centre=False)
    with open_stamps(path) as made, open_stamps(sample[2][0]) as source:
        old, new = source.system(source.target_ids.index(table["anchor"][0])), made.system(0)
    np.testing.assert_array_equal(new.flux[0], old.flux[0])
    assert all((new.flux[k] != old.flux[k]).any() for k in (1, 2))
    # nothing but a centre
    maker = maker_of(sample, generator)
    maker.cfg = {**maker.cfg, "centre": False}
    row, stamps = maker(Order("a", "t00", "restored", 0), old[:1])
    assert (row["status"], row["varied"], row["reason"]) == ("rejected", 0, "no segment to vary")
    np.testing.assert_array_equal(stamps.flux, old.flux[:1])


def maker_of(sample, generator, accept=ANYTHING):
    with open_stamps(sample[2][0]) as file:
        found = load_generator(generator[0], sample[2][0], file.format)
        cfg = {**AUGMENT, "accept": accept}
        return Maker(found, physical(sample[0]), *settings_of(cfg), cfg, file.centre_arcsec)


def test_one_seed_one_sample_whatever_the_neighbours(sample, generator, tmp_path):
    systems, folds, paths = sample
    found = {}
    for name, roles in (
        ("all", folds),
        ("few", folds.assign(role=np.where(folds["target_id"] < "t03", "train", "test"))),
    ):
        (tmp_path / name).mkdir()
        path, _ = augmented((systems, roles, paths), generator[0], tmp_path / name, accept=ANYTHING)
        with open_stamps(path) as file:
            found[name] = {t: file.system(k).flux for k, t in enumerate(file.target_ids)}
    assert len(found["few"]) == 3
    shared = set(found["few"]) & set(found["all"])
    assert shared
    assert all(np.array_equal(found["few"][name], found["all"][name]) for name in shared)


def test_rejects_are_counted_and_all_of_them_is_a_warning(sample, generator, tmp_path, caplog):
    nothing = dict.fromkeys(AUGMENT["accept"], 1e-9)
    path, table = augmented(sample, generator[0], tmp_path, accept=nothing, pools={"restored": 0, "generated": 1})
    assert (set(table["status"]), set(table["varied"]), set(table["rejected"])) == ({"rejected"}, {0}, {4})
    assert table["reason"].str.contains("flux 4").all()
    assert Bags([path]).target_ids == []
    assert "all 9 synthetic systems were rejected (" in caplog.text
    assert "widen augment.accept" in caplog.text
    more, _ = with_synthetic(sample[0], sample[1], [str(tmp_path / "synthetic.parquet")])
    assert len(more) == 30


def test_pools_are_merged_by_weight(sample):
    with open_stamps(sample[2][0]) as file:
        names = [name for name in file.target_ids if name != "t04"]

        def pools(restored, generated, variants=20):
            cfg = {"variants": variants, "pools": {"restored": restored, "generated": generated}, "seed": 1}
            return pd.Series([order.pool for order in order_variants(names, file, cfg)]).value_counts(normalize=True)

        assert pools(3, 1)["restored"] == pytest.approx(0.75, abs=0.06)
        assert pools(0, 1).to_dict() == {"generated": 1.0}
        with pytest.raises(InputError, match=r"augment\.pools gives no weight to either pool"):
            pools(0, 0)
        # half a variant is a chance of one half; a system without stamps has none
        cfg = {"variants": 0.5, "pools": {"restored": 1, "generated": 0}, "seed": 1}
        assert 1 < len(order_variants(list(file.target_ids), file, cfg)) < 13
        cfg["variants"] = 2
        assert len(order_variants(list(file.target_ids), file, cfg)) == 28


def test_pixels_that_are_not_valid_stay_so(sample, generator, tmp_path):
    maker = maker_of(sample, generator)
    with open_stamps(sample[2][0]) as file:
        stamps = file.system(0)
    mask = stamps.mask.copy()
    mask[:, 1, :5] = False
    masked = replace(stamps, flux=np.where(mask, stamps.flux, np.float16(0)), mask=mask)
    rows, light = maker.choose(masked)
    for pool in ("restored", "generated"):
        new = maker.draw(
            "t00", pool, masked[rows], light, maker.noise(masked), maker.torch_rng(np.random.default_rng(0))
        )
        assert (new[~mask[rows]] == 0).all()
        assert np.isfinite(new).all()
    assert maker.refused(stamps[0], np.full(stamps.flux[0].shape, np.nan)) == ["finite"]


POSITIVES = {**AUGMENT, "candidates": 2, "share": 1.0, "accept": ANYTHING}


def test_positives_belong_to_their_stamps(sample, generator, tmp_path):
    systems, folds, paths = sample
    made = []
    for k, path in enumerate(paths):
        made.append(str(tmp_path / f"{k}.h5"))
        make_positives(path, systems, folds, generator[0], made[-1], POSITIVES, quiet)
    with h5py.File(made[0], "r") as file:
        assert (file.attrs["sampled"], file.attrs["accepted"]) == (54, 54)
        rows = file["row"][:]
        assert file["flux"].shape == (54, 2, SIDE, SIDE)
    # every stamp of a system of role train, twice
    assert (np.unique(rows, return_counts=True)[1] == 2).all()
    positives = Positives(paths, made)
    assert len(positives) == 54 + 60
    # stamps 0 to 2 are of t00 in role train, 6 to 8 of t02 in role stop; 42 is the first of the second file
    whose, flux = positives.draw(np.array([7, 0, 42]), np.random.default_rng(0))
    assert whose.tolist() == [1, 2]
    with h5py.File(made[0], "r") as file:
        assert any(np.array_equal(flux[0].numpy(), own) for own in file["flux"][:2])
    with h5py.File(made[1], "r") as file:
        assert any(np.array_equal(flux[1].numpy(), own) for own in file["flux"][:2])


def test_positives_of_other_colours_are_rejected(sample, generator, tmp_path, caplog):
    systems, folds, paths = sample
    strict = {**POSITIVES, "accept": {**ANYTHING, "colour_mag": 1e-9}}
    make_positives(paths[0], systems, folds, generator[0], tmp_path / "p.h5", strict, quiet)
    assert "none of 54 synthetic positives keeps its colours" in caplog.text
    with pytest.raises(InputError, match=r"pretrain\.method clsp has no synthetic positive"):
        Positives(paths[:1], [tmp_path / "p.h5"])


def noisy(rng, n=300, sigma=0.3, colour=(1.0, 2.0)):
    images = np.stack([rng.uniform(0.5, 1.5) * arc(rng.uniform(1, 3), rng.uniform(0, 3), colour) for _ in range(n)])
    flux = np.arcsinh(images + sigma * rng.normal(size=images.shape)).astype(np.float16)
    whole = np.full(flux.shape, 0.3, np.float16), np.ones(flux.shape, bool), np.zeros((n, 2), np.float32)
    return Stamps(flux, *whole, np.zeros(n, np.int32), np.zeros(n, np.int32))


def test_checks_pass_what_is_alike_and_fail_what_is_not():
    rng = np.random.default_rng(0)
    real, alike, train = noisy(rng), noisy(rng), noisy(rng)
    rows = pd.DataFrame(compare(real, alike, train, BANDS, "restored", 0)).set_index(["test", "band"])["value"]
    assert abs(rows["noise, wide"] - 1).max() < 0.05
    assert min(rows["band ratio"].min(), rows["profile"].min()) > 0.01
    assert rows["told apart"].item() == pytest.approx(0.5, abs=0.08)
    assert 0.5 < rows["nearest copy"].item() < 2
    assert rows["median copy"].item() == pytest.approx(1, abs=0.1)
    for other, test in ((noisy(rng, sigma=0.27), "noise, wide"), (noisy(rng, colour=(1.0, 3.0)), "band ratio")):
        found = pd.DataFrame(compare(real, other, train, BANDS, "restored", 0)).set_index(["test", "band"])["value"]
        assert (abs(found[test] - 1).max() > 0.05) if test == "noise, wide" else (found[test].min() < 1e-6)
        assert found["told apart"].item() > 0.75
    assert copied(train.flux, real.flux, train.flux[:5])[0] == 0


def test_figures_of_stamps_by_hand():
    rng = np.random.default_rng(1)
    flux = np.arcsinh(0.2 * rng.normal(size=(160, 2, SIDE, SIDE)))
    sigma, mask = np.full(flux.shape, 0.2), np.ones(flux.shape, bool)
    level, fine, middle = blank_noise(flux + 0.02, sigma, mask)
    np.testing.assert_allclose(middle, 0.1, atol=0.02)
    np.testing.assert_allclose(level, 1, rtol=0.03)
    np.testing.assert_allclose(fine, 1, rtol=0.03)
    even = np.arcsinh(np.tile(np.array([1.0, 3.0]).reshape(1, 2, 1, 1), (2, 1, SIDE, SIDE)))
    np.testing.assert_allclose(band_ratios(even, sigma[:2], mask[:2]), np.arcsinh(3) - np.arcsinh(1))
    np.testing.assert_allclose(profiles(even, mask[:2]), (np.arcsinh(3) + np.arcsinh(1)) / 2)
    half = mask[:2] & (np.arange(2).reshape(1, 2, 1, 1) == 0)
    np.testing.assert_allclose(profiles(even, half), np.arcsinh(1))
    assert told_apart(flux[:80], flux[80:] + 1, 0) > 0.95


@pytest.mark.parametrize("width", [0.0, 0.45, 0.7, 1.5])
def test_noise_of_the_sky_is_measured_and_drawn_again(width):
    rng, wide = np.random.default_rng(2), np.arange(120) % 2 == 0
    # of the power that is declared, on large scales
    level = np.array([[0.6, 0.8], [1.0, 0.9]]) * min(1, 0.28 / max(width, 1e-3))
    made = SkyNoise(level, np.full((2, 2), max(width, 1e-3)), np.full((2, 2), 0.1))
    sigma = np.full((120, 2, 24, 24), 0.2)
    sigma[::3] = 0.3
    mask = np.ones(sigma.shape, bool)
    flux = np.arcsinh(made.draw(rng.normal(size=sigma.shape), sigma, wide))
    assert lit_pixels(flux, sigma, mask).mean() < 0.05
    found = SkyNoise.fit(flux, sigma, mask, wide)
    np.testing.assert_allclose(found.level, made.level, rtol=0.06)
    np.testing.assert_allclose(found.mean, made.mean, atol=0.02)
    again = np.arcsinh(found.draw(rng.normal(size=sigma.shape), sigma, wide))
    for kind in (wide, ~wide):
        before, after = (blank_noise(part[kind], sigma[kind], mask[kind]) for part in (flux, again))
        np.testing.assert_allclose(after[:2], before[:2], rtol=0.06)
    # nothing blank: white noise as declared, or that of others
    nothing = SkyNoise.fit(flux + 9, sigma, mask, wide)
    assert (nothing.level == 1).all()
    others = SkyNoise.fit(flux + 9, sigma, mask, wide, found)
    assert all((getattr(others, name) == getattr(found, name)).all() for name in ("level", "width", "mean"))
    # too much taken for background is no blank sky either
    assert lit_pixels(flux - 1, sigma, mask).all()


def test_a_variant_has_the_noise_of_its_own_field(sample, generator):
    maker = maker_of(sample, generator)
    with open_stamps(sample[2][0]) as file:
        stamps = file.system(0)
    half = replace(stamps, flux=np.arcsinh(np.sinh(stamps.flux.astype(float)) / 2).astype(np.float16))
    own, other = maker.noise(stamps), maker.noise(half)
    np.testing.assert_allclose(other.level[0], own.level[0] / 2, rtol=0.25)
    # the wide stamp is one: what it does not tell is that of the training
    few = replace(stamps, mask=stamps.mask & (stamps.label != 0)[:, None, None, None])
    np.testing.assert_array_equal(maker.noise(few).level[1], maker.generator.noise.level[1])


def test_what_is_faint_in_new_pixels_is_haze_and_becomes_sky(sample, generator):
    maker = maker_of(sample, generator)
    with open_stamps(sample[2][0]) as file:
        stamps = file.system(0)
    sigma, bands = np.median(stamps.sigma.astype(float)), stamps.flux.shape[1]
    for snr, stays in ((4.0, False), (6.0, True)):
        # of 9 pixels and all bands together
        new = np.full(stamps.flux.shape, np.arcsinh(snr * sigma / 3 / np.sqrt(bands)))
        made = maker.on_sky(new, stamps, maker.noise(stamps), maker.torch_rng(np.random.default_rng(0)))
        assert (np.ptp(made[1, 0, 3:-3, 3:-3]) == 0) == stays


def test_held_out_systems_are_what_is_compared(sample, generator, tmp_path):
    systems, folds, paths = sample
    out = tmp_path / "c.parquet", tmp_path / "c.h5"
    check_generator(paths, systems, folds, generator[0], *out, {**AUGMENT, "checked": 8}, quiet)
    table = read_table(out[0])
    assert set(table["pool"]) == {"restored", "generated"}
    assert (table["n"] == 16).all()
    with open_stamps(out[1]) as file:
        assert file.target_ids == ("real", "restored", "generated")
        real = file.system(0)
    with open_stamps(paths[0]) as file:
        np.testing.assert_array_equal(real.flux[:2], file.system(file.target_ids.index("t02")).flux[:2])
