"""Certified training data: the bytes a model trains on are the bytes that were validated.

The line, as functions and as commands of the same name::

    import prep

    raw = prep.generate("control")                               # or prep.ingest("minari:…", output="data/raw/mine.h5")
    prep.stats(raw, output="data/stats/control.json")            # train split only, mask-aware, per group
    prep.normalize(raw, stats="data/stats/control.json", output="data/normalized/control.h5")
    prep.look("data/normalized/control.h5", "states")            # one field measured again; prep.plot draws it
    prep.validate("data/normalized/control.h5")                  # one pass over the stored bytes, every check
    prep.certify("data/normalized/control.h5")                   # sealed, pinned in prep.lock
    prep.write_report("data/normalized/control.h5", output="control.html")   # all of it on a page that opens offline

    prep.diff("last/control.h5", "data/normalized/control.h5")   # what changed, and whether it is beyond limits

    prep.doctor("somebody-elses.h5")                             # what would hurt a training; no schema needed

    prep.train("control")                                        # Lightning, on certified data and nothing else
    prep.diagnose("runs/control")                                # cause, evidence, next step; of other logs too
    prep.evaluate("runs/control")                                # frozen weights, in both units, and a verdict
    prep.predict("runs/control/best.ckpt", "mine.npz", output="answers.npz")   # original units in and out

    data = prep.open("data/normalized/control.h5")               # CertifiedDataset, or an error that says why not
    for batch in data.torch("train", batch_size=512, shuffle=True):   # verified as it is read
        ...
    data.transforms["controls"].invert(prediction, **rows)            # the exact inverse, in original units

    key = prep.new_key()                                         # who signs
    prep.certify("data/normalized/control.h5", keys=[key.private])
    prep.trust_key(key.key.text, owner="Ada")                    # who relies on it: trust.toml
    prep.open("data/normalized/control.h5", prep.Policy(level="signed"))

The parts, bottom up: `errors`, `canonical` and `registry`, `strict_yaml`; `kernels`; `blocks` (fields, datasets,
blocks of rows); `isolation` (untrusted files are parsed in a child process); `formats` (HDF5 and Zarr); `folds`
(everything learned about data); `recipes`, `importers`, `transforms`, `checks`; `schema` and `report`; `engine` (the
only loop over data); `certificate`; `gate` (the only maker of `CertifiedDataset`); `loaders`; `training`; `verbs`;
`cli`. Nothing here is imported before it is used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prep.registry import Table

if TYPE_CHECKING:
    from prep.certificate.policy import Policy as Policy
    from prep.gate import CertifiedDataset as CertifiedDataset
    from prep.gate import admit as open
    from prep.verbs.certify import certify as certify
    from prep.verbs.compare import compare as compare
    from prep.verbs.diagnose import diagnose as diagnose
    from prep.verbs.diff import diff as diff
    from prep.verbs.doctor import doctor as doctor
    from prep.verbs.evaluate import evaluate as evaluate
    from prep.verbs.export import export as export
    from prep.verbs.generate import generate as generate
    from prep.verbs.ingest import ingest as ingest
    from prep.verbs.inspect import inspect as inspect
    from prep.verbs.keys import new_key as new_key
    from prep.verbs.keys import show_key as show_key
    from prep.verbs.look import look as look
    from prep.verbs.mutate import mutate as mutate
    from prep.verbs.normalize import normalize as normalize
    from prep.verbs.plot import plot as plot
    from prep.verbs.predict import predict as predict
    from prep.verbs.report import write_report as write_report
    from prep.verbs.stats import stats as stats
    from prep.verbs.train import train as train
    from prep.verbs.trust import revoke as revoke
    from prep.verbs.trust import trust_key as trust_key
    from prep.verbs.trust import trusted as trusted
    from prep.verbs.validate import validate as validate
    from prep.verbs.verify import verify as verify

# libhdf5 reads this once, when h5py is first imported, and then never looks for filter plugins: a file that names an
# unknown filter would otherwise have it load every shared library on the plugin path. No module of prep can import h5py
# before this line has run. What `hdf5plugin` registers by itself still works.
os.environ["HDF5_PLUGIN_PRELOAD"] = "::"

_API = Table(
    "api",
    {
        "CertifiedDataset": "prep.gate:CertifiedDataset",
        "Policy": "prep.certificate.policy:Policy",
        "certify": "prep.verbs.certify:certify",
        "compare": "prep.verbs.compare:compare",
        "diagnose": "prep.verbs.diagnose:diagnose",
        "diff": "prep.verbs.diff:diff",
        "doctor": "prep.verbs.doctor:doctor",
        "evaluate": "prep.verbs.evaluate:evaluate",
        "export": "prep.verbs.export:export",
        "generate": "prep.verbs.generate:generate",
        "ingest": "prep.verbs.ingest:ingest",
        "inspect": "prep.verbs.inspect:inspect",
        "look": "prep.verbs.look:look",
        "mutate": "prep.verbs.mutate:mutate",
        "new_key": "prep.verbs.keys:new_key",
        "normalize": "prep.verbs.normalize:normalize",
        "open": "prep.gate:admit",
        "plot": "prep.verbs.plot:plot",
        "predict": "prep.verbs.predict:predict",
        "revoke": "prep.verbs.trust:revoke",
        "show_key": "prep.verbs.keys:show_key",
        "stats": "prep.verbs.stats:stats",
        "train": "prep.verbs.train:train",
        "trust_key": "prep.verbs.trust:trust_key",
        "trusted": "prep.verbs.trust:trusted",
        "validate": "prep.verbs.validate:validate",
        "verify": "prep.verbs.verify:verify",
        "write_report": "prep.verbs.report:write_report",
    },
)
__all__ = [
    "CertifiedDataset",
    "Policy",
    "certify",
    "compare",
    "diagnose",
    "diff",
    "doctor",
    "evaluate",
    "export",
    "generate",
    "ingest",
    "inspect",
    "look",
    "mutate",
    "new_key",
    "normalize",
    "open",
    "plot",
    "predict",
    "revoke",
    "show_key",
    "stats",
    "train",
    "trust_key",
    "trusted",
    "validate",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _API.load(name)
    raise AttributeError(f"module 'prep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
