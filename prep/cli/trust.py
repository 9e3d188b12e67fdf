"""Commands that judge data and say what is known of them: validate, certify, verify, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prep.cli.arguments import Json, LockFile, PassphraseFile, Require, Scheduler, SchemaFile, TrustFile, Workers


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Datasets, or folders that hold normalised ones.")],
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    changed_only: Annotated[
        bool,
        typer.Option("--changed-only", help="Hash certified data, and measure only what is not as it was certified."),
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show every check, also those that passed.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="JUnit XML, a test case for each check and field; - is stdout.")
    ] = None,
    sarif: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="SARIF 2.1.0, at the lines of the schema; - is stdout."),
    ] = None,
    html: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="One HTML page that opens offline, with what `prep report` shows; - is stdout."
        ),
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotations, and a table in the summary of the step.")
    ] = False,
) -> None:
    """Re-measure datasets from their stored bytes and judge them by their schema.

    Exit code: 0 all passed, 1 data failed, 2 usage or schema, 3 stored bytes or certificate, 4 not finished.

    Examples: `prep validate data/` · `prep validate data/ --strict --junit junit.xml --github`
    """
    from prep.cli.options import executor
    from prep.cli.output import progress, report_error, several
    from prep.cli.outputs import Outputs, ended
    from prep.cli.render import show_validations
    from prep.cli.report import page_of
    from prep.errors import PrepError
    from prep.report.validation import Validation, document
    from prep.verbs.validate import validate as verb

    outputs = Outputs(json=json, junit=junit, sarif=sarif, html=html, github=github)
    work = executor(workers, scheduler)
    try:
        with progress("validate " + several(paths)) as show:
            found = verb(*paths, schema=schema, changed_only=changed_only, workers=work, progress=show)
    except PrepError as error:
        unfound = (Validation(paths[0], None, error),)
        told = document(unfound, strict=strict)
        unwritten = outputs.write(told, lambda: page_of(unfound, schema=schema, strict=strict))
        report_error(error)
        raise typer.Exit(ended(error.exit_code, unwritten)) from error
    told = document(found, strict=strict)
    unwritten = outputs.write(told, lambda: page_of(found, schema=schema, strict=strict, work=work))
    if not outputs.take_stdout:
        show_validations(told, verbose=verbose)
    raise typer.Exit(ended(told["exit_code"], unwritten))


def certify(
    dataset: Annotated[Path, typer.Argument(help="A normalised dataset.")],
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A report of `prep validate --json`; it has to agree with what is measured."),
    ] = None,
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings prevent a certificate.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Refuse to change prep.lock.")] = False,
    key: Annotated[
        list[Path] | None, typer.Option("--key", metavar="PATH", help="Private key that signs; may be repeated.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    expires: Annotated[
        str | None, typer.Option(metavar="90d|DATE", help="When the certificate ends: in days, or on a day.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="State the present moment, without earlier signatures.")
    ] = False,
    lock: LockFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Measure and hash the dataset, state what was examined, sign it if there is a key, and pin it in prep.lock.

    A certificate that says the same already keeps its signatures, so that a second person can sign it too.

    Examples: `prep certify data/normalized/control.h5 --report data/reports/control.json` ·
    `prep certify data/normalized/control.h5 --key ~/.config/prep/key.pem --expires 90d`
    """
    from prep.cli.options import executor, passphrase_for
    from prep.cli.output import progress, say, write_json
    from prep.cli.render_trust import show_signed
    from prep.verbs.certify import certify as verb

    work = executor(workers, scheduler)
    passphrase = passphrase_for(key or [], passphrase_file)
    with progress(f"certify {dataset.name}") as show:
        done = verb(
            dataset,
            report=report,
            schema=schema,
            strict=strict,
            locked=locked,
            lock_path=lock,
            keys=key or [],
            passphrase=passphrase,
            expires=expires,
            renew=renew,
            workers=work,
            progress=show,
        )
    if json:
        write_json(
            {
                "dataset": done.dataset,
                "version": done.version,
                "path": str(done.path),
                "root": done.root,
                "certificate": done.certificate,
                "lock": str(done.pinned),
                "verdict": done.report.verdict,
                "expires": done.expires,
                "signed_by": [each.id for each in done.keys],
                "signatures": done.signatures,
                "signatures_dropped": done.dropped,
                "statement_kept": done.kept,
            },
            json,
        )
    else:
        say(f"certified {done.dataset} {done.version}, root {done.root}", "good")
        say(f"pinned in {done.pinned}")
        show_signed(done)


def verify(
    dataset: Annotated[
        str, typer.Argument(help="A certified dataset: its path, or a URL (s3://, gs://, https://, …).")
    ],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every value and recompute everything.")] = False,
    admission_only: Annotated[
        bool, typer.Option("--admission-only", help="Read no chunk, as a training run that begins.")
    ] = False,
    require: Require = "sealed",
    lock: LockFile = None,
    trust: TrustFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    json: Json = None,
) -> None:
    """Pass a dataset through the gate, as a training run would, and hash every stored byte.

    Examples: `prep verify data/normalized/control.h5` · `prep verify data/normalized/covariance.zarr --deep` ·
    `prep verify s3://bucket/control.h5 --require signed`
    """
    from prep.certificate.policy import Policy
    from prep.cli.options import executor, level
    from prep.cli.output import progress, say, write_json
    from prep.verbs.inspect import standing_to_dict
    from prep.verbs.verify import verify as verb

    work, policy = executor(workers, scheduler), Policy(level(require))
    with progress(f"verify {dataset.rpartition('/')[2]}") as show:
        found = verb(
            dataset,
            deep=deep,
            admission_only=admission_only,
            policy=policy,
            lock_path=lock,
            trust_path=trust,
            workers=work,
            progress=show,
        )
    admitted = found.dataset
    if json:
        write_json(
            {
                "dataset": admitted.id,
                "version": admitted.version,
                "root": admitted.root,
                "certificate": admitted.certificate_digest,
                **standing_to_dict(admitted.standing),
                "chunks_hashed": found.chunks,
            },
            json,
        )
    else:
        how = f"all {found.chunks} chunks {'decoded and recomputed' if deep else 'hashed'}"
        if admission_only:
            how = "admitted; each chunk is verified when it is read"
        say(f"{admitted.id} {admitted.version} holds: {how}", "good")
        say(f"root {admitted.root}, certificate {admitted.certificate_digest}")
        say(f"level {admitted.standing.level}: {admitted.standing}")


def inspect(
    datasets: Annotated[list[Path], typer.Argument(help="A dataset; several, or run folders, with --table.")],
    as_table: Annotated[bool, typer.Option("--table", help="One line a certified dataset or finished run.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the table to a file.")] = None,
    stats: Annotated[
        str | None, typer.Option("--stats", metavar="FIELD", help="Measure this field again and show its statistics.")
    ] = None,
    by: Annotated[str, typer.Option(metavar="GROUP", help="With --stats: of each group, by this field.")] = "",
    split: Annotated[str, typer.Option(help="With --stats: of this split only.")] = "",
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="With --stats: all features and more quantiles.")
    ] = False,
    schema: SchemaFile = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    lock: LockFile = None,
    trust: TrustFile = None,
    json: Json = None,
) -> None:
    """Show everything a dataset says about itself, or with --stats what one of its fields is measured to be.

    Examples: `prep inspect data/normalized/control.h5` · `prep inspect --table data/normalized/*.h5` ·
    `prep inspect --table runs/*` · `prep inspect data/normalized/control.h5 --stats states --by system`
    """
    from prep.cli.look import inspect_field, refuse_without_stats
    from prep.cli.options import executor

    if stats is not None:
        work = executor(workers, scheduler)
        inspect_field(
            datasets,
            stats,
            table=as_table or output is not None,
            by=by,
            split=split,
            verbose=verbose,
            schema=schema,
            lock=lock,
            trust=trust,
            workers=work,
            json=json,
        )
        return
    refuse_without_stats({"--by": by, "--split": split, "--verbose": verbose, "--schema": schema})
    from prep.cli.output import write_json
    from prep.cli.render import show_inspection, show_runs, show_summary, summary_to_dict
    from prep.verbs.inspect import inspect as verb
    from prep.verbs.inspect import summary
    from prep.verbs.runs import are_runs, runs

    if output is not None and not as_table:
        from prep.errors import UsageError, Where

        raise UsageError(
            "only the table is written to a file",
            where=Where(key="--output"),
            measured=str(output),
            allowed="-o together with --table",
            remedy="add --table, or use --json FILE for everything a dataset says",
        )
    if as_table and are_runs(datasets):
        found_runs = runs(*datasets)
        if json:
            write_json(list(found_runs), json)
        if json != "-":
            show_runs(found_runs, output)
        return
    if as_table:
        rows = summary(*datasets, lock_path=lock, trust_path=trust)
        if json:
            write_json(summary_to_dict(rows), json)
        if json != "-":
            show_summary(rows, output)
        return
    found = [verb(path, lock_path=lock, trust_path=trust) for path in datasets]
    if json:
        write_json([each.to_dict() for each in found] if len(found) > 1 else found[0].to_dict(), json)
    if json == "-":
        return
    for each in found:
        show_inspection(each)
