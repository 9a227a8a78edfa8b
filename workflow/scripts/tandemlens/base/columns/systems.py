"""Columns of `systems.parquet`: one row per simulated line of sight, with everything drawn for it."""

from tandemlens.base.columns.registry import Column

COLUMNS = [
    Column("target_id", "str", "", "target"),
    Column("class", "str", "", "tandem, projected (second cluster not strongly lensed) or alone (no second cluster)"),
    Column("label", "bool", "", "two or more members of the second cluster are strongly lensed and seen at S/N > 5"),
    Column("why", "str", "", "what the label rests on"),
    Column("tries", "int32", "", "lines of sight drawn until one had the class", 1),
    Column("z", "float64", "", "redshift of the lens", 0, 5),
    Column("richness", "float64", "", "richness of the lens", 0),
    Column("m200c", "float64", "Msun", "halo mass", 0),
    Column("c200c", "float64", "", "halo concentration", 0),
    Column("q", "float64", "", "axis ratio of the projected halo", 0, 1),
    Column("area", "float64", "", "projected area of the halo over that of a sphere; below 1 if it points at us", 0),
    Column("angle", "float64", "rad", "long axis of the halo from west towards north"),
    Column("offset", "float64", "arcsec", "halo centre from the central galaxy", 0),
    Column("sigma_bcg", "float64", "km/s", "velocity dispersion of the central galaxy", 0),
    Column("shear", "float64", "", "external shear for D_ls/D_s = 1", 0),
    Column("z_behind", "float64", "", "redshift of the second cluster; NaN without one", 0, 5),
    Column("richness_behind", "float64", "", "its richness", 0),
    Column("offset_behind", "float64", "arcsec", "its unlensed centre from the target", 0),
    Column("theta_e", "float64", "arcsec", "Einstein radius for the second cluster's redshift, else for z = 2", 0),
    Column("n_strong", "int32", "", "members of the second cluster that are strongly lensed, seen or not", 0),
]
