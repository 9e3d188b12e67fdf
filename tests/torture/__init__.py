"""Campaigns against prep: the same functions in the test suite, with small counts, and in `make torture`, with large."""
