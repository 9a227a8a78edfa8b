"""Write the settings tables of config/README.md and the page docs/data-model.md; `make manual` runs this."""

from pathlib import Path

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.products import products
from tandemlens.base.config import load_schema
from tandemlens.base.manual import data_model, fill_manual
from tandemlens.heads.declaration import score_tables

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow/scripts"

if __name__ == "__main__":
    manual = ROOT / "config/README.md"
    schema = load_schema(ROOT / "config/schemas/config.schema.yaml")
    write_text(manual, fill_manual(manual.read_text(encoding="utf-8"), schema))
    write_text(ROOT / "docs/data-model.md", data_model(products(score_tables(SCRIPTS))))
