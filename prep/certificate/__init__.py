"""What makes data trusted: the manifest of every stored byte, the statement about it, its envelope, the lock, the
policy.

`manifest` describes and digests, `statement` says what was examined, `envelope` wraps it for signing, `lock` pins what
this project trusts, `policy` is what a consumer demands. The gate above puts them together.
"""
