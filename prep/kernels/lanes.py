"""Compiled loops (numba): sums, extremes, bucket counts and row hashes, each in one walk over the values.

Only `prep.kernels.compiled` imports this. A loop runs over *lanes*: neighbouring values are viewed as lines of a few
hundred, so that vector instructions work whatever the number of features, and each lane belongs to one feature. Every
sum is added up in an order that the code fixes (no reassociation), so results do not depend on the vector width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from prep.kernels.prefetch import prefetch

_jit: Any = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
_S1, _S2, _S3, _S4, _LOW, _HIGH = range(6)
# Bytes that lie ahead where memory is asked for, and bytes that one request brings.
_AHEAD, _LINE, _ROWS_AHEAD = 2048, 64, 16


@_jit
def _expect(array, start, stop):  # type: ignore[no-untyped-def]
    """Ask for what lies `_AHEAD` of ``array[start:stop]``."""
    ahead, line = _AHEAD // array.itemsize, _LINE // array.itemsize
    for place in range(start + ahead, stop + ahead, line):
        prefetch(array, place)


@_jit
def plain_sums(flat, starts, stops, slots, pivots, sums):  # type: ignore[no-untyped-def]
    """Add runs of values to lanes.

    Run r is ``flat[starts[r]:stops[r]]`` and belongs to row ``slots[r]`` of ``pivots`` (slots, lanes) float64 and
    ``sums`` (slots, 6, lanes) float64: sums of the first four powers of the distance from the pivot, smallest and
    largest value. A run starts in lane 0.
    """
    width = pivots.shape[1]
    for run in range(len(slots)):
        place, stop = starts[run], stops[run]
        pivot, out = pivots[slots[run]], sums[slots[run]]
        s1, s2, s3, s4, low, high = out[_S1], out[_S2], out[_S3], out[_S4], out[_LOW], out[_HIGH]
        while place + 4 * width <= stop:
            _expect(flat, place, place + 4 * width)
            line1, line2 = flat[place : place + width], flat[place + width : place + 2 * width]
            line3, line4 = flat[place + 2 * width : place + 3 * width], flat[place + 3 * width : place + 4 * width]
            for j in range(width):
                a, b, c, d = np.float64(line1[j]), np.float64(line2[j]), np.float64(line3[j]), np.float64(line4[j])
                least = a if a < b else b
                other = c if c < d else d
                least = least if least < other else other
                most = a if a > b else b
                other = c if c > d else d
                most = most if most > other else other
                p = pivot[j]
                a, b, c, d = a - p, b - p, c - p, d - p
                a2, b2, c2, d2 = a * a, b * b, c * c, d * d
                s1[j] += (a + b) + (c + d)
                s2[j] += (a2 + b2) + (c2 + d2)
                s3[j] += (a2 * a + b2 * b) + (c2 * c + d2 * d)
                s4[j] += (a2 * a2 + b2 * b2) + (c2 * c2 + d2 * d2)
                low[j] = least if least < low[j] else low[j]
                high[j] = most if most > high[j] else high[j]
            place += 4 * width
        while place < stop:
            length = min(width, stop - place)
            line1 = flat[place : place + length]
            for j in range(length):
                a = np.float64(line1[j])
                low[j] = a if a < low[j] else low[j]
                high[j] = a if a > high[j] else high[j]
                a = a - pivot[j]
                a2 = a * a
                s1[j] += a
                s2[j] += a2
                s3[j] += a2 * a
                s4[j] += a2 * a2
            place += length


@_jit
def masked_sums(flat, keep, starts, stops, slots, pivots, sums, counts):  # type: ignore[no-untyped-def]
    """`plain_sums` of the values where ``keep`` (uint8, as long as ``flat``) is not 0.

    ``counts`` (slots, lanes) float64 grows by their number.

    A value that is not kept is taken for the pivot, which adds nothing to a sum, and for an extreme that is none.
    """
    width = pivots.shape[1]
    for run in range(len(slots)):
        pivot, out, count = pivots[slots[run]], sums[slots[run]], counts[slots[run]]
        s1, s2, s3, s4, low, high = out[_S1], out[_S2], out[_S3], out[_S4], out[_LOW], out[_HIGH]
        place, stop = starts[run], stops[run]
        while place + 4 * width <= stop:
            _expect(flat, place, place + 4 * width)
            line1, line2 = flat[place : place + width], flat[place + width : place + 2 * width]
            line3, line4 = flat[place + 2 * width : place + 3 * width], flat[place + 3 * width : place + 4 * width]
            _expect(keep, place, place + 4 * width)
            keep1, keep2 = keep[place : place + width], keep[place + width : place + 2 * width]
            keep3, keep4 = keep[place + 2 * width : place + 3 * width], keep[place + 3 * width : place + 4 * width]
            for j in range(width):
                p = pivot[j]
                a, b, c, d = np.float64(line1[j]), np.float64(line2[j]), np.float64(line3[j]), np.float64(line4[j])
                with1, with2, with3, with4 = keep1[j] != 0, keep2[j] != 0, keep3[j] != 0, keep4[j] != 0
                least, most = low[j], high[j]
                least = a if with1 & (a < least) else least
                most = a if with1 & (a > most) else most
                least = b if with2 & (b < least) else least
                most = b if with2 & (b > most) else most
                least = c if with3 & (c < least) else least
                most = c if with3 & (c > most) else most
                least = d if with4 & (d < least) else least
                most = d if with4 & (d > most) else most
                low[j], high[j] = least, most
                a, b, c, d = a if with1 else p, b if with2 else p, c if with3 else p, d if with4 else p
                a, b, c, d = a - p, b - p, c - p, d - p
                a2, b2, c2, d2 = a * a, b * b, c * c, d * d
                s1[j] += (a + b) + (c + d)
                s2[j] += (a2 + b2) + (c2 + d2)
                s3[j] += (a2 * a + b2 * b) + (c2 * c + d2 * d)
                s4[j] += (a2 * a2 + b2 * b2) + (c2 * c2 + d2 * d2)
                count[j] += np.float64(np.uint8(with1) + np.uint8(with2) + np.uint8(with3) + np.uint8(with4))
            place += 4 * width
        while place < stop:
            length = min(width, stop - place)
            line1, keep1 = flat[place : place + length], keep[place : place + length]
            for j in range(length):
                p = pivot[j]
                a, with1 = np.float64(line1[j]), keep1[j] != 0
                low[j] = a if with1 & (a < low[j]) else low[j]
                high[j] = a if with1 & (a > high[j]) else high[j]
                a = a - p if with1 else np.float64(0.0)
                a2 = a * a
                s1[j] += a
                s2[j] += a2
                s3[j] += a2 * a
                s4[j] += a2 * a2
                count[j] += np.float64(with1)
            place += length


@_jit
def add_products(words, keys, sign, sums):  # type: ignore[no-untyped-def]
    """Add to ``sums`` (rows, 2) uint64 the products of the halves of every word plus its key, in two lanes.

    ``words`` (rows, words) and ``keys`` (2, words) are uint64. ``sign`` is 4 or 8 where the words hold floats of that
    many bytes whose -0.0 is taken for 0.0, else 0.
    """
    lower, half, top = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1 << 63)
    negative = np.uint64(0x80000000)
    nothing, flat = np.uint64(0), words.reshape(-1)
    for row in range(words.shape[0]):
        first, second, line = nothing, nothing, words[row]
        _expect(flat, row * len(line), (row + 1) * len(line))
        keys1, keys2 = keys[0], keys[1]
        if sign == 4:
            for j in range(len(line)):
                low, high = line[j] & lower, line[j] >> half
                low = nothing if low == negative else low
                high = nothing if high == negative else high
                word = low | (high << half)
                a, b = word + keys1[j], word + keys2[j]
                first += (a & lower) * (a >> half)
                second += (b & lower) * (b >> half)
        elif sign == 8:
            for j in range(len(line)):
                word = nothing if line[j] == top else line[j]
                a, b = word + keys1[j], word + keys2[j]
                first += (a & lower) * (a >> half)
                second += (b & lower) * (b >> half)
        else:
            for j in range(len(line)):
                a, b = line[j] + keys1[j], line[j] + keys2[j]
                first += (a & lower) * (a >> half)
                second += (b & lower) * (b >> half)
        sums[row, 0] += first
        sums[row, 1] += second


@_jit
def take_rows(flat, order, out):  # type: ignore[no-untyped-def]
    """``out[i] = rows[order[i]]`` (one at least), where ``flat`` are the rows of ``out``'s width, end to end."""
    width, line = out.shape[1], _LINE // flat.itemsize
    first, last = order[0], order[0]
    for i in range(len(order)):
        first, last = min(first, order[i]), max(last, order[i])
    together = last - first < 2 * len(order)
    if together:
        for place in range(first * width, (last + 1) * width, line):
            prefetch(flat, place)
    for i in range(len(order)):
        if not together and i + _ROWS_AHEAD < len(order):
            soon = order[i + _ROWS_AHEAD] * width
            for place in range(soon, soon + width, line):
                prefetch(flat, place)
        start = order[i] * width
        for j in range(width):
            out[i, j] = flat[start + j]


@_jit
def number(ids, low, table, codes):  # type: ignore[no-untyped-def]
    """``codes[i]`` becomes the place of ``ids[i]`` among the distinct ids in ascending order; all are int64.

    ``table`` are zeros, one for each integer from ``low``, the smallest id, to the largest.
    """
    for i in range(len(ids)):
        table[ids[i] - low] = 1
    total = 0
    for place in range(len(table)):
        total += table[place]
        table[place] = total - 1
    for i in range(len(ids)):
        codes[i] = table[ids[i] - low]


@_jit
def sort_stretches(codes, stretch, order, bounds, slots):  # type: ignore[no-untyped-def]
    """Put rows with equal codes (0 to n - 1) together within every ``stretch`` rows, in their order.

    ``order`` (rows,) becomes the place of each row. Run r is ``bounds[r]:bounds[r + 1]`` of it, its code ``slots[r]``;
    these have room for n runs of each stretch, and one bound more. Returns how many runs there are.
    """
    most = len(slots) // max(-(-len(codes) // stretch), 1)
    places = np.empty(most, np.int64)
    runs = 0
    for start in range(0, len(codes), stretch):
        stop = min(start + stretch, len(codes))
        places[:] = 0
        for row in range(start, stop):
            places[codes[row]] += 1
        place = start
        for code in range(most):
            count, places[code] = places[code], place
            if count:
                bounds[runs], slots[runs] = place, code
                runs += 1
            place += count
        for row in range(start, stop):
            code = codes[row]
            order[places[code]] = row
            places[code] += 1
    bounds[runs] = len(codes)
    return runs


@_jit
def extremes(flat, low, high, rest):  # type: ignore[no-untyped-def]
    """Lower ``low`` and raise ``high`` (lanes,) to the values of each lane; ``rest`` (lanes,) becomes NaN where one is
    NaN or infinite. All are of the dtype of ``flat``.
    """
    width = len(low)
    for place in range(0, len(flat), 4 * width):
        _expect(flat, place, place + 4 * width)
        for start in range(place, min(place + 4 * width, len(flat)), width):
            length = min(width, len(flat) - start)
            line = flat[start : start + length]
            for j in range(length):
                a = line[j]
                low[j] = a if a < low[j] else low[j]
                high[j] = a if a > high[j] else high[j]
                rest[j] += a - a


@_jit
def count_buckets(flat, keep, starts, stops, slots, pivots, tops, bases, window, shift, tables, spare):  # type: ignore[no-untyped-def]
    """Count log-linear codes of the distances from ``pivots`` (lanes,).

    With W the ``window``, ``tables`` (slots, n) int32 holds for each feature, from ``bases`` (lanes,) on, W + 2 counts
    for positive and as many for negative distances: the codes from ``tops`` (lanes,) downwards, then the code 0, then
    what has no room.
    ``keep`` is as long as ``flat``, or empty where every value counts. The places in ``flat`` of values without room go
    to ``spare``; returns how many there are.
    """
    width, used, masked = len(pivots), 0, len(keep) > 0
    nowhere = tables.shape[1] - 1
    distance = np.empty(width, np.float64)
    word = distance.view(np.int64)
    target = np.empty(width, np.int64)
    for run in range(len(slots)):
        table = tables[slots[run]]
        for place in range(starts[run], stops[run], width):
            length = min(width, stops[run] - place)
            line = flat[place : place + length]
            _expect(flat, place, place + length)
            for j in range(length):
                distance[j] = np.float64(line[j]) - pivots[j]
            missed = 0
            for j in range(length):
                code = (word[j] & 0x7FFFFFFFFFFFFFFF) >> shift
                below = tops[j] - code
                inside = (below >= 0) & (below < window)
                index = below if inside else window + 1
                index = window if code == 0 else index
                missed |= 1 if index == window + 1 else 0
                target[j] = bases[j] + index + (window + 2 if (word[j] < 0) & (code != 0) else 0)
            if masked:
                kept = keep[place : place + length]
                for j in range(length):
                    target[j] = target[j] if kept[j] != 0 else nowhere
            for j in range(length):
                table[target[j]] += 1
            if missed:
                for j in range(length):
                    index = target[j] - bases[j]
                    if target[j] != nowhere and index % (window + 2) == window + 1:
                        spare[used] = place + j
                        used += 1
    return used


@_jit
def standardise(flat, starts, stops, slots, means, deviations, out):  # type: ignore[no-untyped-def]
    """``out = (flat - mean) / deviation`` in float64, run by run; ``means`` and ``deviations`` are (slots, lanes)."""
    width = means.shape[1]
    for run in range(len(slots)):
        mean, deviation = means[slots[run]], deviations[slots[run]]
        for place in range(starts[run], stops[run], width):
            length = min(width, stops[run] - place)
            line, into = flat[place : place + length], out[place : place + length]
            for j in range(length):
                into[j] = (np.float64(line[j]) - mean[j]) / deviation[j]
