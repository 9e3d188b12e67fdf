"""Pure block kernels: arrays in, arrays out, no knowledge of datasets, files or workers.

`moments` (centred sums to the fourth order), `cross` (second sums of inputs and targets, least squares), `buckets`
(log-linear codes for quantiles), `hashing` (128-bit row hashes), `matrices` (Hermitian part, trace, root mean square),
`steering` (near-field array geometry).
"""
