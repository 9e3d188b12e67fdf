"""The campaigns: one line each, so many tries in the suite and in the long run."""

from __future__ import annotations

from tests.torture.campaign import Campaign

_HERE = "tests.torture.campaigns"
_ATTACKS = "tests.attacks"
_VALUES = "no value other than the certified one is handed out without an error"
_STATE = "the old state verifies or there is no certificate; run again, the same result and nothing left behind"
_PARSERS = "errors of prep and no others, in bounded memory and time"
_CLOCK = "the same files whatever the clock says; one that is behind the certificate refuses it"
_RACE = "one wins: what lies there belongs together and verifies, or has no certificate"

CAMPAIGNS = (
    Campaign("kill", f"{_HERE}.kill:kill", 50, 2000, _STATE),
    Campaign("interrupt", f"{_HERE}.kill:interrupt", 5, 500, f"exit code 130; {_STATE}"),
    Campaign("calls", f"{_HERE}.syscalls:all_calls", 1, 0, f"exit code 4 and one message; {_STATE}"),
    Campaign("file sizes", f"{_HERE}.limits:file_sizes", 10, 200, f"exit code 4 or done; {_STATE}"),
    Campaign("memory", f"{_HERE}.limits:memory", 10, 200, f"exit code 4 or done; {_STATE}"),
    Campaign("full disk", f"{_HERE}.limits:full_disk", 10, 200, f"exit code 4 or done; {_STATE}"),
    Campaign("read-only", f"{_HERE}.limits:read_only", 1, 0, "exit code 4, nothing changes"),
    Campaign("races", f"{_HERE}.races:races", 15, 1000, _RACE),
    Campaign("clock", f"{_HERE}.clock:clock", 3, 50, _CLOCK),
    Campaign(
        "terminal",
        f"{_HERE}.terminal:terminal",
        1,
        0,
        "reader gone: exit code 141, full: 4; no traceback, the work is done",
    ),
    Campaign("bit flips", f"{_ATTACKS}.campaigns:bit_flips", 2000, 50_000, _VALUES),
    Campaign("damage", f"{_ATTACKS}.campaigns:damage", 500, 10_000, _VALUES),
    Campaign("one root", f"{_ATTACKS}.campaigns:one_root", 50, 500, "HDF5 and Zarr of the same data share their root"),
    Campaign("pandera", f"{_ATTACKS}.campaigns:against_pandera", 200, 5000, "same verdicts, same failing samples"),
    Campaign("states", f"{_ATTACKS}.machine:states", 200, 1000, "write, tamper, certify, read: the invariants hold"),
    Campaign("fuzzing", "tests.fuzz.run:every_target", 50, 100_000, _PARSERS),
    Campaign("guided fuzzing", "tests.fuzz.run:guided", 5000, 1_000_000, _PARSERS),
    Campaign("guards", f"{_HERE}.guards:guards", 3, 0, "a test fails for each guard that is taken out"),
)
