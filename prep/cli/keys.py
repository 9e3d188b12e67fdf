"""Commands around signatures: `prep key` for those who sign, `prep trust` for those who rely on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import Json, PassphraseFile, TrustFile
from prep.cli.command import Command

key_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keys that sign certificates: make one, show its public side.",
)
trust_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Whose signatures this project accepts (trust.toml), and what is revoked.",
)


@key_app.command("new", cls=Command)
def new(
    path: Annotated[
        Path | None, typer.Argument(help="Where the private key goes; by default ~/.config/prep/key.pem.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    plain: Annotated[bool, typer.Option("--no-passphrase", help="Do not ask for a passphrase.")] = False,
    json: Json = None,
) -> None:
    """Make an Ed25519 key: the private half for you alone (mode 0600), the public one beside it (.pub).

    On a terminal a passphrase is asked for; an empty one leaves the key unencrypted. A key is never overwritten.

    Examples: `prep key new` · `prep key new ci.pem --no-passphrase`
    """
    from prep.cli.options import new_passphrase
    from prep.cli.output import say, write_json
    from prep.verbs.keys import new_key

    made = new_key(path, passphrase="" if plain else new_passphrase(passphrase_file))
    if json:
        write_json(made.to_dict(), json)
    if json == "-":
        return
    say(f"private key {made.private}: keep it to yourself, and a copy somewhere safe", "good")
    say(f"public key  {made.public_file}: give it to those who shall trust you")
    say(f"key id      {made.key.id}")
    say(f"who trusts it runs: prep trust add {made.key.text} --owner NAME")


@key_app.command("show", cls=Command)
def show(
    path: Annotated[Path, typer.Argument(help="A key file, private or public.")],
    passphrase_file: PassphraseFile = None,
    json: Json = None,
) -> None:
    """Show the public side of a key: its id, the public key, the entry for trust.toml. Nothing private is shown.

    Example: `prep key show ~/.config/prep/key.pem.pub`
    """
    from prep.cli.options import passphrase_for
    from prep.cli.output import say, write_json
    from prep.verbs.keys import show_key

    shown = show_key(path, passphrase=passphrase_for([path], passphrase_file))
    if json:
        write_json(shown.to_dict(), json)
    if json == "-":
        return
    say(f"key id      {shown.key.id}")
    say(f"public key  {shown.key.text}")
    say("")
    say(shown.key.pem.decode().splitlines())
    say("")
    say("in trust.toml, which `prep trust add` writes:")
    say(["[[key]]", 'owner = "NAME"', f'public = "{shown.key.text}"', 'datasets = ["*"]'])


@trust_app.command("add", cls=Command)
def add(
    public: Annotated[str, typer.Argument(metavar="PUBKEY", help="A public key: a PEM file, or ed25519:….")],
    owner: Annotated[str, typer.Option(metavar="NAME", help="Whose key it is.")],
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", metavar="GLOB", help="For which datasets; may be repeated.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day on which it counts (YYYY-MM-DD).")
    ] = None,
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Accept signatures by a public key. Make sure that it is the owner's: compare the key id by telephone.

    Examples: `prep trust add ada.pem.pub --owner "Ada" --dataset control --dataset "tones-*" --until 2027-12-31`
    """
    from prep.cli.output import say, write_json
    from prep.verbs.trust import trust_key, trust_to_dict, trusted

    added = trust_key(public, owner=owner, datasets=dataset or ["*"], until=until, trust_path=trust)
    found = trusted(trust)
    if json:
        write_json(next(each for each in trust_to_dict(found)["keys"] if each["id"] == added.key.id), json)
    if json == "-":
        return
    last = f", until {added.valid_until.date()}" if added.valid_until else ""
    say(f"trusted: {added.owner}, for {', '.join(added.datasets)}{last}, in {found.path}", "good")
    say(f"key id {added.key.id}: compare it with what {added.owner} sees (prep key show)")


@trust_app.command("list", cls=Command)
def listed(trust: TrustFile = None, json: Json = None) -> None:
    """Show whose signatures count, what is demanded of which datasets, and what is revoked.

    Example: `prep trust list --json -`
    """
    from prep.cli.output import write_json
    from prep.cli.render_trust import show_trust
    from prep.verbs.trust import trust_to_dict, trusted

    found = trusted(trust)
    if json:
        write_json(trust_to_dict(found), json)
    if json != "-":
        show_trust(found)


@trust_app.command("revoke", cls=Command)
def revoke(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="KEYID, OWNER, sha256:CERTIFICATE or blake3:ROOT.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is shown to whoever is refused.")],
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Let a key, a certificate or data count for nothing from now on, whenever they were signed.

    Examples: `prep trust revoke Ada --reason "laptop stolen"` ·
    `prep trust revoke blake3:… --reason "wrong calibration"`
    """
    from prep.cli.output import say, write_json
    from prep.verbs.trust import revoke as verb

    done = verb(what, reason=reason, trust_path=trust)
    if json:
        revoked = {"keys": [each.key.id for each in done.keys], "digest": done.digest or None}
        write_json({"path": str(done.path), **revoked}, json)
        return
    for each in done.keys:
        say(f"revoked: {each}, in {done.path}", "good")
    if done.digest:
        say(f"revoked: {done.digest}, in {done.path}", "good")
