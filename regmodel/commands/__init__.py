"""The commands that need nothing but descriptions: ``list``, ``show``, ``decode``."""
