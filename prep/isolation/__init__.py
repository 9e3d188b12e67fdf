"""Untrusted files are parsed in a child process with limits; what kills it there is a clean refusal here.

libhdf5 has memory bugs, so no HDF5 file that somebody else may have written is given to it in the process of the user::

    answer = ask(raw.fileno(), path, "structure", {}, OWN, most=nbytes)   # the child that lasts, for short questions
    foreign = Session(raw.fileno(), path, FOREIGN)                        # a child of its own, for a longer reading
    answer = foreign.ask("read", {...}, most=nbytes)

A child gets the open file as a descriptor and answers in JSON and raw bytes (`frames`), which the parent takes apart
strictly (`answers`) and trusts no further than what it checks. `child` is what runs in there, `confinement` and
`limits` bound it, `process` is the parent's end, `sessions` decides which child is asked.
"""
