"""How fast prep is beside what others do, as ratios taken in one run: ``python -m benchmarks``, or ``make bench``.

`comparisons.COMPARISONS` is the one table: the program times its two sides in turn, the tests run both on a few
thousand rows and demand the same numbers of them.
"""
