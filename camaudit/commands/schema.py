"""`camaudit schema`."""

from __future__ import annotations

import click

from camaudit.commands.options import reader_may_leave

__all__ = ["schema"]


@click.command()
@click.argument("of", type=click.Choice(["policy", "results"]), default="policy")
def schema(of: str) -> None:
    """Print the JSON Schema of policies (camaudit.toml) or of results.json.

    Editors complete and check a policy by it; it is the documentation of every key, too.
    """
    import json

    from camaudit.schema import policy_schema, results_schema

    made = policy_schema() if of == "policy" else results_schema()
    with reader_may_leave():
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
