"""ACME's card behaves like Intel's, and has more addresses to itself."""

from __future__ import annotations

from emulators.nics.igb.card import IgbCard


class AcmeCard(IgbCard):
    """An ``IgbCard`` under another name: what a vendor's subclass would start from."""
