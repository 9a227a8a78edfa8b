"""The page in a browser: what is listed and shown, that nothing leaves the disk, and that everybody can use it."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from axe_playwright_python.sync_playwright import Axe
from scene import HOSTILE, KNOWN, PICTURES

#: axe would read style sheets by requests, which the page forbids
ALONE = {"preload": False}
VIEWS = ("overview", "list", "c/T000006", "c/T004999", "grade")


def rows(page):
    return page.locator("#rows .row")


def shown(page):
    """Names in the window of the list, from its top."""
    return page.eval_on_selector_all("#rows .row .name", "cells => cells.map((cell) => cell.firstChild.textContent)")


def count(page):
    return page.inner_text("#view-list [role=status]")


def choose(page, **fields):
    for name, value in fields.items():
        if name in ("query", "low", "high"):
            page.fill(f"#list-{name}", str(value))
        else:
            page.select_option(f"#list-{name}", value)


def test_every_target_is_listed_and_few_are_drawn(visit, site):
    page = visit().go("list")
    assert count(page) == "5000 of 5000 targets"
    assert rows(page).count() < 40
    assert rows(page).first.get_attribute("aria-setsize") == "5000"
    page.keyboard.press("End")
    assert shown(page)[-1] == site[1]["name"].iloc[-1]
    assert page.get_attribute("#rows", "aria-activedescendant") == "row-4999"


def test_filters_and_order_are_those_of_the_catalogue(visit, site):
    _, frame = site
    page = visit().go("list")
    choose(page, query="cLUster 49", column="z", low=0.3, high=0.6, sort="classic")
    page.click("#list-descending")
    mine = frame[frame["name"].str.contains("Cluster 49") & frame["z"].between(0.3, 0.6)]
    expected = mine.sort_values("classic", ascending=False)["name"]
    assert count(page) == f"{len(expected)} of 5000 targets"
    assert shown(page) == list(expected[: rows(page).count()])
    choose(page, query="", column="", sort="z")
    assert shown(page)[0] == frame.loc[frame["z"].idxmax(), "name"]
    page.keyboard.press("Tab")
    page.focus("#rows")
    page.keyboard.press("End")
    assert shown(page)[-1] == frame.loc[5, "name"], "a target without a redshift comes last either way"
    page.click("#list-descending")
    page.focus("#rows")
    page.keyboard.press("End")
    assert shown(page)[-1] == frame.loc[5, "name"]


@pytest.mark.parametrize(("only", "n"), [("pictures", PICTURES), ("listed", 10), ("graded", 0), ("open", PICTURES)])
def test_what_is_shown(visit, only, n):
    page = visit().go("list")
    choose(page, only=only)
    assert count(page) == f"{n} of 5000 targets"


def test_statuses_lead_from_the_overview_to_the_list(visit):
    page = visit().go()
    page.click("text=bad_coordinates")
    assert count(page) == "2 of 5000 targets"


def test_the_whole_way_by_keyboard(visit, site):
    page = visit().go()
    for key, title in (("2", "Candidates"), ("1", "Overview"), ("3", "Grade"), ("2", "Candidates")):
        page.keyboard.press(key)
        page.wait_for_selector(f"h2:visible:has-text('{title}')")
    for key in ("j", "j", "ArrowDown", "k", "ArrowDown", "j", "j", "j"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#candidate-title:has-text('7. Cluster 6')")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#candidate-title:has-text('8. Cluster 7')")
    page.keyboard.press("k")
    page.wait_for_selector("#candidate-title:has-text('7. Cluster 6')")
    page.keyboard.press("o")
    assert not page.is_checked("#view-candidate [data-switch=outlines]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#rows .row[aria-selected=true]:has-text('Cluster 6')")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    page.uncheck("#keys")
    page.keyboard.press("1")
    assert page.is_visible("#view-list")


@pytest.mark.parametrize("k", HOSTILE)
def test_hostile_names_are_text(visit, site, k):
    one = visit(viewport={"width": 390, "height": 800})
    page = one.go("list")
    page.locator(".filters").first.evaluate("node => node.parentElement.open = true")
    choose(page, query=site[1]["target_id"][k])
    assert shown(page) == [HOSTILE[k]]
    page.focus("#rows")
    page.keyboard.press("Enter")
    title = page.wait_for_selector(f"#candidate-title:has-text('{k + 1}.')")
    assert title.text_content() == f"{k + 1}. {HOSTILE[k]}"
    assert page.evaluate("window.pwned === undefined")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#view-candidate script, #view-candidate u").count() == 0


def test_a_candidate_has_all_that_is_known(visit, site):
    row = site[1].iloc[6]
    page = visit().go("c/T000006")
    text = page.inner_text("#view-candidate")
    place = SkyCoord(row["ra"], row["dec"], unit=u.deg)
    sexagesimal = f"{place.ra.to_string('hour', sep=':', precision=2, pad=True)} "
    sexagesimal += place.dec.to_string("deg", sep=":", precision=1, pad=True, alwayssign=True).replace("-", "−")
    for said in (
        sexagesimal,
        "the closest on the sky is <u>behind</u>, 12″ away at z 0.700",
        "lw max (largest length over width) raised the log odds by 0.50",
        "colour gradient g r (slope of g-r",
        "On the list of candidates",
        "0a1b2c",
        f"{row['classic']:.3f}",
    ):
        assert said in text
    links = page.eval_on_selector_all("#view-candidate .links a", "all => all.map((a) => a.href)")
    assert [link.split("/")[2] for link in links] == [
        "www.legacysurvey.org", "sky.esa.int", "aladin.cds.unistra.fr", "ned.ipac.caltech.edu", "simbad.cds.unistra.fr",
    ]  # fmt: skip
    assert all(f"{row['ra']:.6f}" in link for link in links)
    assert page.locator("#view-candidate .strip img").count() == 3
    assert page.eval_on_selector_all("#view-candidate img", "all => all.every((one) => one.naturalWidth > 0)")


def test_a_target_without_pictures_says_so(visit):
    page = visit().go("c/T004999")
    text = page.inner_text("#view-candidate")
    assert "No pictures of this target" in text
    assert "Its coordinates are unknown." in text
    assert "The catalogue has no target nonsense" in visit().go("c/nonsense").inner_text("#view-candidate")


def test_segments_say_what_they_are(visit):
    page = visit().go("c/T000006")
    outline = page.locator("#view-candidate .outline").nth(1)
    outline.hover(force=True)
    told = page.inner_text("#view-candidate .told")
    assert told == (
        "Segment 2: arc, S/N 20, 4.2″ long and 1.1″ wide, 10.7″ from the centre; "
        "g 22.60 ± 0.10, r 22.20 ± 0.10, i 21.80 ± 0.10; attention 0.600"
    )
    shades = page.eval_on_selector_all(
        "[fill='#ff4fd8']", "all => all.map((one) => Number(one.getAttribute('fill-opacity')))"
    )
    assert shades == pytest.approx([0.8, 0.4])
    assert page.locator("#view-candidate .outline.chosen").count() == 2
    page.click("#view-candidate summary:has-text('arc-like')")
    page.locator("#view-candidate details button").last.focus()
    assert page.inner_text("#view-candidate .told").startswith("Segment 2: arc")


def test_ellipses_and_the_sequence_are_those_of_linear_algebra(visit):
    page = visit().go("list")
    mags = {"g": [22.0, 0.1], "r": [21.0, 0.2], "i": [20.5, 0.05]}
    found = page.evaluate("mags => TL.covariance(mags, ['g', 'r'], ['r', 'i'])", mags)
    jacobian = np.array([[1, -1, 0], [0, 1, -1]])
    np.testing.assert_allclose(found, jacobian @ np.diag([0.1, 0.2, 0.05]) ** 2 @ jacobian.T)
    ellipse = page.evaluate("matrix => TL.ellipse(matrix)", found)
    values, vectors = np.linalg.eigh(found)
    assert [ellipse["minor"] ** 2, ellipse["major"] ** 2] == pytest.approx(values)
    axis = np.array([np.cos(ellipse["angle"]), np.sin(ellipse["angle"])])
    assert abs(axis @ vectors[:, 1]) == pytest.approx(1)
    sequence = {"bands": list("gri"), "colours": [0.9, 0.4], "covariance": [[0.04, -0.01], [-0.01, 0.02]]}
    at = page.evaluate("one => TL.sequenceAt(one, [['g', 'i'], ['r', 'i']])", sequence)
    sums = np.array([[1, 1], [0, 1]])
    np.testing.assert_allclose(at["place"], [1.3, 0.4])
    np.testing.assert_allclose(at["covariance"], sums @ np.array(sequence["covariance"]) @ sums.T)
    assert page.evaluate("one => TL.sequenceAt(one, [['g', 'z'], ['r', 'i']])", sequence) is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_trouble_with_access(visit, theme):
    one = visit(color_scheme=theme)
    for view in VIEWS:
        page = one.go(view)
        found = Axe().run(page, options=ALONE).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == [], view
    page = one.start()
    found = Axe().run(page, options=ALONE).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_the_switch_wins_over_the_system_and_is_kept(visit):
    one = visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = one.go().evaluate(background)
    one.page.select_option("#theme", "light")
    assert one.page.evaluate(background) != dark
    assert one.go().evaluate(background) == "rgb(255, 255, 255)"


def test_a_phone_needs_no_sideways_scrolling(visit):
    one = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for view in VIEWS:
        page = one.go(view)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page = one.start()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_known_answers_are_not_in_the_list(visit):
    page = visit().go("list")
    choose(page, query="SIM")
    assert count(page) == "0 of 5000 targets"
    cases = page.evaluate("TL.data.run.grading.cases.map(([id]) => id)")
    # two of the six are tandems: both are taken, then others
    assert len(cases) == 4
    assert {"SIM0", "SIM1"} <= set(cases) < {f"SIM{k}" for k in range(KNOWN)}
