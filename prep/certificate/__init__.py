"""What makes data trusted: the manifest of every stored byte, the statement about it, its envelope, and whom a consumer
believes.

`manifest` describes and digests (`tree` makes the root), `statement` says what was examined, `envelope` wraps and signs
it with `keys`, which lie in `keyfiles`. The consumer's side: `lock` pins what this project uses, `trust` lists whose
signatures count (`trust_edit` changes it), `policy` is what is demanded, and `evidence` judges an envelope by all
three. The gate above puts them together.
"""
