"""Rebuild, normalise, validate and certify every dataset of config/config.yaml: `snakemake all`.

Each rule calls one `prep` verb. What a rule depends on is what its verb reads: the recipe's parameters for generate, the
schema's plan of transforms for stats and normalize, the whole schema for validate and certify. So a changed parameter rebuilds what
follows from it, and a changed check only re-validates and re-certifies.
"""

from prep.verbs.config import load_config
from prep.verbs.workflow import dataset_targets

SETTINGS = load_config("config/config.yaml")
TARGETS = {name: dataset_targets(SETTINGS, name) for name in SETTINGS.datasets}


def head(path):
    """The file that stands for a dataset: of a Zarr folder its root metadata, since Snakemake writes into folders."""
    return f"{path}/zarr.json" if path.endswith(".zarr") else path


rule all:
    input:
        f"{SETTINGS.data}/reports/certified.txt",


for name, target in TARGETS.items():

    rule:
        name:
            f"generate_{name}"
        output:
            head(target.raw),
            f"{target.raw}.manifest",
        params:
            recipe=target.recipe_digest,
            name=name,
            dataset=target.raw,
        threads: workflow.cores
        shell:
            "prep generate {params.name} -o {params.dataset} --workers {threads}"

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
            "prep stats {params.dataset} --schema {params.schema} -o {output} --workers {threads}"

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
            "prep normalize {params.raw} --stats {input[1]} --schema {params.schema} --compression {params.compression}"
            " -o {params.dataset} --workers {threads}"

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
        threads: workflow.cores
        shell:
            "prep validate {params.dataset} --schema {input[2]} --json {output} --workers {threads}"

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
            "prep certify {params.dataset} --report {input[1]} --schema {input[2]} --workers {threads}"


rule certified:
    input:
        [f"{target.normalized}.cert.json" for target in TARGETS.values()],
    output:
        f"{SETTINGS.data}/reports/certified.txt",
    params:
        datasets=[target.normalized for target in TARGETS.values()],
    shell:
        "prep inspect --table {params.datasets} -o {output}"
