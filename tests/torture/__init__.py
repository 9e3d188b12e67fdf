"""Campaigns against prep: one function each, for the suite with small counts and for `make torture` with large."""
