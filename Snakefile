"""Rebuild, normalise, validate and certify every dataset of config/config.yaml: `snakemake all`. Train on them: `snakemake train`.

Each rule calls one `prep` verb. What a rule depends on is what its verb reads: the recipe's parameters, or the source, for generate, the
schema's plan of transforms for stats and normalize, the whole schema for validate and certify. So a changed parameter rebuilds what
follows from it, and a changed check only re-validates and re-certifies.
"""

import shlex
import sys
from pathlib import Path

from prep.verbs.config import load_config
from prep.verbs.workflow import CAPTION, dataset_targets, mispinned, unlocked

SETTINGS = load_config("config/config.yaml")
TARGETS = {name: dataset_targets(SETTINGS, name) for name in SETTINGS.datasets}
UNLOCKED = unlocked(TARGETS)
TABLE = f"{SETTINGS.data}/reports/certified.txt"
RELOCKED = f"{SETTINGS.data}/reports/relocked"
if UNLOCKED:
    Path(RELOCKED).unlink(missing_ok=True)
for line in mispinned(TARGETS):
    print(line, file=sys.stderr)


def head(path):
    """The file that stands for a dataset: of a Zarr folder its root metadata, since Snakemake writes into folders."""
    return f"{path}/zarr.json" if path.endswith(".zarr") else path


rule all:
    input:
        TABLE,
        # Snakemake makes no file that nobody asks for while what follows from it is there.
        [place for target in TARGETS.values() for place in (target.origin, target.report, target.page)],
        [RELOCKED] if UNLOCKED else [],


for name, target in TARGETS.items():

    # Snakemake knows the parameters of what it made itself only. With the origin as a file, raw data made by hand are
    # rebuilt too when the configuration asks for others.
    rule:
        name:
            f"origin_{name}"
        output:
            target.origin,
        params:
            digest=target.origin_digest,
        shell:
            "echo {params.digest} > {output:q}"

    rule:
        name:
            f"generate_{name}"
        input:
            target.origin,
        output:
            head(target.raw),
            f"{target.raw}.manifest",
        params:
            name=name,
            dataset=target.raw,
        threads: workflow.cores
        shell:
            "prep generate {params.name} -o {params.dataset:q} --workers {threads}"

    rule:
        name:
            f"stats_{name}"
        input:
            head(target.raw),
            f"{target.raw}.manifest",
        output:
            target.stats,
        params:
            plan=target.plan_digest,
            schema=target.schema,
            dataset=target.raw,
        threads: workflow.cores
        shell:
            "prep stats {params.dataset:q} --schema {params.schema:q} -o {output:q} --workers {threads}"

    rule:
        name:
            f"normalize_{name}"
        input:
            head(target.raw),
            target.stats,
        output:
            head(target.normalized),
            f"{target.normalized}.manifest",
        params:
            raw=target.raw,
            dataset=target.normalized,
            plan=target.plan_digest,
            schema=target.schema,
            compression=target.compression,
        threads: workflow.cores
        shell:
            "prep normalize {params.raw:q} --stats {input[1]:q} --schema {params.schema:q}"
            " --compression {params.compression} -o {params.dataset:q} --workers {threads}"

    rule:
        name:
            f"validate_{name}"
        input:
            head(target.normalized),
            f"{target.normalized}.manifest",
            target.schema,
        output:
            target.report,
        params:
            dataset=target.normalized,
            failed=target.failed,
            table=TABLE,
        threads: workflow.cores
        # Snakemake removes the outputs of a rule that fails: a failing report is kept under a name of its own.
        shell:
            "rm -f {params.failed:q};"
            " prep validate {params.dataset:q} --schema {input[2]:q} --json {output:q} --workers {threads}"
            " || {{ status=$?; mv -f {output:q} {params.failed:q} 2> /dev/null; rm -f {params.table:q}; exit $status; }}"

    rule:
        name:
            f"certify_{name}"
        input:
            head(target.normalized),
            target.report,
            target.schema,
        output:
            f"{target.normalized}.cert.json",
        params:
            dataset=target.normalized,
        threads: workflow.cores
        shell:
            "prep certify {params.dataset:q} --report {input[1]:q} --schema {input[2]:q} --workers {threads}"

    rule:
        name:
            f"report_{name}"
        input:
            f"{target.normalized}.cert.json",
            head(target.normalized),
            target.schema,
        output:
            report(target.page, caption=CAPTION, category="Datasets", labels={"dataset": name}),
        params:
            name=name,
            dataset=target.normalized,
        threads: workflow.cores
        shell:
            "prep report {params.dataset:q} --schema {input[2]:q} -o {output:q} --workers {threads}"


rule certified:
    input:
        [f"{target.normalized}.cert.json" for target in TARGETS.values()],
    output:
        TABLE,
    params:
        datasets=[target.normalized for target in TARGETS.values()],
    shell:
        "prep inspect --table {params.datasets:q} -o {output:q}"


# The lock is no output of a rule: rules share it, and Snakemake would remove it. What is certified but missing there is
# certified again, after everything else; the table is then written anew, as it shows certificates.
rule relock:
    input:
        TABLE,
        [target.report for target in TARGETS.values()],
    output:
        RELOCKED,
    params:
        commands=" && ".join(
            shlex.join(["prep", "certify", each.normalized, "--report", each.report, "--schema", each.schema])
            for each in (TARGETS[name] for name in UNLOCKED)
        ),
        datasets=[target.normalized for target in TARGETS.values()],
    shell:
        "{params.commands} && prep inspect --table {params.datasets:q} -o {input[0]:q} && touch {output:q}"


# `snakemake train`: every dataset's own system, one after the other, and one table of what was reached. What a run ended
# with is copied out of its folder: Snakemake removes outputs before it makes them again, and a run made by hand is none of
# its own.
rule train:
    input:
        "runs/trained/table.txt",


rule trained:
    input:
        [f"runs/trained/{name}.json" for name in TARGETS],
    output:
        "runs/trained/table.txt",
    shell:
        "prep inspect --table {input:q} -o {output:q}"


for name, target in TARGETS.items():

    rule:
        name:
            f"train_{name}"
        input:
            f"{target.normalized}.cert.json",
        output:
            f"runs/trained/{name}.json",
        params:
            name=name,
        threads: workflow.cores
        shell:
            "prep train {params.name:q} --run-dir runs/{params.name:q} --json {output:q}"
