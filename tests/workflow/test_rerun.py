"""The rerun matrix: what a change reruns, as exact sets of rules and numbers of jobs."""

import os

import yaml

from tandemlens.base.sidecar import SUFFIX, digest_of, read_sidecar
from trees import plant

LIBRARY = "workflow/scripts/tandemlens"
ROAD = ("targets", "render", "match", "segment", "measure", "features")
#: the search of the small run has two shards, its training sample one; heads score both, and only targets are ranked
SHARDS = 2
ALL = SHARDS + 1
#: what follows from other scores of any head
RANKED = {"catalogue": 1, "figures": 1, "report": 1, "crate": 1}
FUSED = {"fuse": 1, "score_fused": SHARDS, "evaluate": 1, "evaluation_page": 1, "cards": 1, **RANKED}
#: what follows from other segments or photometry of the search
COLOUR = {"fit_colour": 1, "score_colour": ALL, **FUSED}
#: what follows from other features of the training sample
LEARNT = {"fit_classic": 1, "score_classic": ALL, **FUSED}
#: what follows from another target list whose new rows lie in one shard
LIST = {"simulation": 1, "expect": 1, "coverage": 1, "score_classic": 1, **COLOUR}


def jobs(*rules, shards=ALL, more=COLOUR):
    """Jobs of the per-shard rules, and those of the rules that follow."""
    return {**dict.fromkeys(rules, shards), **more}


def test_a_finished_run_is_up_to_date(tree):
    assert tree.stale() == {}


def test_touching_every_source_file_reruns_nothing(tree):
    for folder, folders, files in os.walk(tree.folder):
        folders[:] = [f for f in folders if f not in (".snakemake", "results")]
        for file in files:
            os.utime(os.path.join(folder, file))
    assert tree.stale() == {}


def test_moving_the_tree_reruns_nothing(tree, tmp_path):
    tree.folder.rename(tmp_path / "elsewhere")
    tree.folder = tmp_path / "elsewhere"
    assert tree.stale() == {}


def test_comments_and_docstrings_rerun_nothing(tree):
    tree.edit(f"{LIBRARY}/image/match.py", '"""One grid', '"""Other words. One grid')
    tree.edit(f"{LIBRARY}/image/match.py", '    """Match every', '    """Other words. Match every')
    tree.append("workflow/scripts/match.py", "# a comment\n")
    assert tree.stale() == {}


def test_editing_a_stage_reruns_it_and_what_follows(tree):
    tree.append(f"{LIBRARY}/image/photometry.py", "\nEDITED = True\n")
    assert tree.stale() == jobs("measure", "features", more={**COLOUR, **LEARNT})


def test_editing_one_head_reruns_that_head_and_what_ranks_by_it(tree):
    tree.append(f"{LIBRARY}/heads/colour.py", "\nEDITED = True\n")
    assert tree.stale() == COLOUR


def test_editing_colour_reruns_features_and_heads(tree):
    tree.append(f"{LIBRARY}/features/colour.py", "\nEDITED = True\n")
    assert tree.stale() == jobs("features", more={**COLOUR, **LEARNT})


def test_editing_the_classic_head_reruns_that_head_and_what_ranks_by_it(tree):
    tree.append(f"{LIBRARY}/heads/classic.py", "\nEDITED = True\n")
    assert tree.stale() == LEARNT


def test_editing_a_head_that_the_run_does_not_have_reruns_nothing(tree):
    tree.append(f"{LIBRARY}/heads/trend.py", "\nEDITED = True\n")
    assert tree.stale() == {}


def test_another_rate_of_false_discoveries_reruns_the_catalogue_alone(tree):
    tree.configure(fusion={"fdr": 0.2})
    assert tree.stale() == RANKED


def test_what_the_catalogue_is_compared_with_reruns_the_catalogue_alone(tree):
    known = {"catalogues": {"mine": {"catalogue": "targets.csv", "radius_arcsec": 30}}}
    tree.configure(crossmatch=known)
    assert tree.stale() == RANKED
    tree.configure(crossmatch={"ned": True})
    assert tree.stale() == {"ned": SHARDS, **RANKED}
    # what is asked of nobody changes nothing
    tree.configure(crossmatch={"service_radius_arcsec": 30})
    assert tree.stale() == {}


def test_the_catalogue_as_hats_is_made_of_it_and_reruns_nothing(tree):
    tree.configure(catalogue={"hats": True})
    assert tree.stale() == {"hats": 1, "crate": 1}


def test_editing_the_page_reruns_the_page(tree):
    tree.append(f"{LIBRARY}/catalogue/page.py", "\nEDITED = True\n")
    assert tree.stale() == {"report": 1, "crate": 1}


def test_deleting_the_page_rebuilds_the_page_and_the_crate_that_has_its_digest(tree):
    (tree.folder / "results/report/index.html").unlink()
    assert tree.stale() == {"report": 1, "crate": 1}


def test_editing_templates_reruns_what_is_made_of_them(tree):
    tree.append(f"{LIBRARY}/catalogue/template.py", "\nEDITED = True\n")
    assert tree.stale() == {"report": 1, "simulation": 1, "evaluation_page": 1, "crate": 1}


def test_swapping_two_values_is_seen(finished, tmp_path):
    tree = finished.copy(tmp_path / "tree")
    defaults = {"dz_min": 0.2, "radius_arcsec": 0.3}
    tree.configure(tandems=defaults)
    tree.snakemake()
    tree.configure(tandems={"dz_min": 0.3, "radius_arcsec": 0.2})
    assert tree.stale() == RANKED


def test_changing_one_target_reruns_its_shard(tree):
    tree.edit("targets.csv", "C,120.0,-20.0,0.40", "C,120.0,-20.0,0.45")
    assert tree.stale() == jobs(*ROAD, shards=1, more=LIST)


def test_adding_a_target_in_a_new_cell_adds_its_shard(tree):
    tree.append("targets.csv", "D,250.0,40.0,0.3,20\n")
    assert tree.stale() == {**jobs(*ROAD, shards=1, more=LIST), "score_colour": ALL + 1, "score_fused": SHARDS + 1}


def test_adding_a_target_to_a_cell_reruns_that_shard(tree):
    tree.append("targets.csv", "D,120.9,-20.3,0.3,20\n")
    assert tree.stale() == jobs(*ROAD, shards=1, more=LIST)


def test_models_that_are_kept_are_not_fitted_anew(tree):
    """A target more reruns its shard and what is made of the whole run, not the scores of the other shards."""
    tree.configure(refit=False)
    assert tree.stale() == {}
    tree.append("targets.csv", "D,120.9,-20.3,0.3,20\n")
    whole = {"simulation": 1, "expect": 1, "coverage": 1, "cards": 1, **RANKED}
    scores = ("score_colour", "score_classic", "score_fused")
    assert tree.stale() == jobs(*ROAD, *scores, shards=1, more=whole)
    tree.edit("targets.csv", "D,120.9,-20.3,0.3,20\n", "")
    (tree.folder / "results/models/classic").rename(tree.folder / "elsewhere")
    assert tree.attempt("--dry-run").returncode
    assert "refit is false, and results/models/classic does not exist; run once with refit true" in tree.said


def test_a_line_of_a_class_reruns_its_sample_and_what_learns_from_it(tree):
    settings = yaml.safe_load((tree.folder / "small.yaml").read_text())
    settings["samples"]["train"]["simulate"]["members"] = {"count": 5}
    tree.configure(**settings)
    trained = {"folds": 1, "simulation": 1, **LEARNT, "score_colour": 1}
    assert tree.stale() == jobs(*ROAD[1:], shards=1, more=trained)


def test_a_line_of_a_class_that_is_not_drawn_reruns_nothing(tree):
    settings = yaml.safe_load((tree.folder / "small.yaml").read_text())
    settings["samples"]["train"]["simulate"]["single_arc"] = {"share": 0, "z_max": 2.0}
    tree.configure(**settings)
    assert tree.stale() == {}


def test_adding_an_unusable_target_reruns_only_what_counts_the_targets(tree):
    tree.append("targets.csv", "D,120.9,-95,0.3,20\n")
    assert tree.stale() == {**RANKED, "cards": 1}


def test_a_card_of_its_own_reruns_the_cards(tree):
    tree.append("workflow/report/model_card.md.j2", "One more line.\n")
    assert tree.stale() == {"cards": 1, "crate": 1}


def test_the_licence_reruns_what_states_it(tree):
    tree.configure(publication={"licence": "https://spdx.org/licenses/CC-BY-4.0"})
    assert tree.stale() == {"cards": 1, "crate": 1}


def test_two_runs_give_one_catalogue(finished, tmp_path):
    second = plant(tmp_path / "second")
    second.snakemake()
    for suffix in ("parquet", "fits", "vot", "csv", "reg"):
        name = f"candidates.{suffix}"
        first, again = (t.folder / "results/catalogue" / name for t in (finished, second))
        assert first.read_bytes() == again.read_bytes()


def test_every_product_has_its_trail(finished):
    """Sidecar, log and benchmark of every job; the sidecar's digest is that of the file."""
    results = finished.folder / "results"
    sidecars = list(results.rglob(f"*{SUFFIX}"))
    assert len(sidecars) > 40
    for path in sidecars:
        product = path.with_name(path.name.removesuffix(SUFFIX))
        facts = read_sidecar(product)
        assert facts["sha256"] == digest_of(product)
        assert facts["code"]
    kept = {path.with_name(path.name.removesuffix(SUFFIX)) for path in sidecars}
    files = {p for p in results.rglob("*") if p.is_file() and not p.name.endswith((SUFFIX, ".plan.json"))}
    others = {p for p in files if p.relative_to(results).parts[0] not in ("logs", "benchmarks")}
    assert not {p for p in others if not {p, *p.parents} & kept}
    for rule in (*ROAD, "score_colour", "score_classic", "score_fused"):
        assert len(list((results / "logs" / rule / "search").glob("*.log"))) == SHARDS
        assert len(list((results / "benchmarks" / rule / "search").glob("*.jsonl"))) == SHARDS
