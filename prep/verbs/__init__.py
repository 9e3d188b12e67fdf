"""The verbs of `prep`: each is a documented function in the module of its name; the command line only parses, calls
and renders.

`generate` | `ingest` → `stats` → `normalize` → `validate` → `certify` → `train`; `verify` and `inspect` look.
"""
