"""Programs that are copied into exported folders: none of them needs this package."""
