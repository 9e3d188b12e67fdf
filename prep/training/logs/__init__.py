"""What a run tells while it goes and when it has ended: to people, to TensorBoard, to `prep diagnose`.

`history` (an epoch as a line and as a row), `meter` (speed, memory, waiting and the terms of a loss), `journal` (every
file that grows with the run), `events` (TensorBoard), `curves` (the picture), `samples` and `summary` (the page at the
end), `record` (what a run is judged by), `foreign` (logs that others wrote). Nothing is imported before it is used.
"""
