"""What trained weights are worth, frozen: `measure` walks a split once, `judge` says done, overfitted or not there yet,
`pictures` and `page` show it.
"""

from __future__ import annotations

from prep.training.evaluation.measure import Measured, measure
from prep.training.evaluation.page import written
from prep.training.evaluation.verdict import Verdict, judge

__all__ = ["Measured", "Verdict", "judge", "measure", "written"]
