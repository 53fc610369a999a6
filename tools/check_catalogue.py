"""Asks every source of the catalogue whether it has what the catalogue says. Wants a network; downloads no weights.

python tools/check_catalogue.py [NAME ...]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from llmasos.errors import LlmasosError
from llmasos.resolve import source_for
from llmasos.sources.source import Listing
from llmasos.store.catalogue import CatalogueSource, read_catalogue


def main(names: list[str]) -> int:
    wrong = 0
    for name, entry in read_catalogue().items():
        if names and name not in names:
            continue
        for source in entry.sources:
            troubles = list(check(source))
            wrong += bool(troubles)
            print(f"{'WRONG' if troubles else 'ok':<6}{name:<24}{source.reference}  {'; '.join(troubles)}")
    return 1 if wrong else 0


def check(source: CatalogueSource) -> Iterator[str]:
    """What is wrong with one source; nothing if all is as the catalogue says."""
    try:
        listing = source_for(source.reference, hurried=False).list_files(source.reference)
    except LlmasosError as error:
        yield error.message
        return
    yield from differences(listing, source)


def differences(listing: Listing, source: CatalogueSource) -> Iterator[str]:
    weights = [file for file in listing.files if file.role in ("weights", "checkpoint")]
    if not weights:
        yield "it lists no weights"
        return
    for what in ("size", "digest"):
        wanted, found = getattr(source, what), getattr(weights[0], what)
        if wanted is not None and found is not None and wanted != found:
            yield f"its {what} is {found}, the catalogue says {wanted}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
