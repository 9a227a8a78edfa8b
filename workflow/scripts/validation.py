"""Write a part of docs/validation.md; ``make validation PART="simulated mock" TABLES=<folder>`` runs this."""

import sys
from pathlib import Path

from tandemlens.base.atomic import write_text
from tandemlens.base.errors import InputError
from tandemlens.catalogue.validation import fill_validation

PAGE = Path(__file__).resolve().parents[2] / "docs/validation.md"

if __name__ == "__main__":
    try:
        kind, name, folder = sys.argv[1:]
        write_text(PAGE, fill_validation(PAGE.read_text(encoding="utf-8"), kind, name, folder))
    except (InputError, ValueError) as error:
        sys.exit(str(error))
