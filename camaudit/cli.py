"""The command line: options to settings, outcomes to files, errors to exit codes; no logic.

Exit codes: 0 done, 1 a claim failed, 2 usage or configuration, 3 the audit itself failed, 4 nothing
could be decided, 130 interrupted.
Heavy imports stand inside the commands, so that --help and --version answer at once.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path

import click

from camaudit import __version__
from camaudit.commands.diff import diff
from camaudit.commands.export import export
from camaudit.commands.fetch import fetch
from camaudit.commands.gate import gate
from camaudit.commands.init import init
from camaudit.commands.options import reader_may_leave
from camaudit.commands.report import report
from camaudit.commands.run import run
from camaudit.commands.runs import runs
from camaudit.commands.schema import schema
from camaudit.commands.serve import serve
from camaudit.commands.stack_gen import stack_gen
from camaudit.commands.stack_mix import stack_mix, verify
from camaudit.commands.theory import theory
from camaudit.commands.train import train
from camaudit.errors import AuditError, CamauditError, UsageError

__all__ = ["cli", "main"]

_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="camaudit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Find out whether a saliency map tells the truth about a model."""


@cli.command()
def methods() -> None:
    """List the saliency methods with family, cost an image and paper."""
    from camaudit.console import methods_listing

    with reader_may_leave():
        click.echo(methods_listing())


@cli.command()
def metrics() -> None:
    """List the metrics of maps with direction, range, cost and paper, and the protocols."""
    from camaudit.console import metrics_listing

    with reader_may_leave():
        click.echo(metrics_listing())


@cli.group()
def data() -> None:
    """Build, fetch and check data sets."""


for _command in (stack_mix, stack_gen, verify, export, fetch):
    data.add_command(_command)
for _command in (run, runs, report, serve, gate, diff, init, schema, theory, train):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; errors become one line on stderr and their exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (>&-): what is said is lost, and nothing else
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without μ still gets its table
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments  # accepted before and after the command
    sys.exit(_run([word for word in arguments if word != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = cli.main(args=arguments, prog_name="camaudit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted; what was written whole stays, and nothing is half written.", err=True
        )
        return _INTERRUPTED
    except CamauditError as error:
        _explain(str(error), debug=debug, hint=not isinstance(error, UsageError))
        return error.exit_code
    except SystemExit as error:  # of the user's own code: its exit code is not the audit's
        _explain(f"the program was ended early ({error.code!r})", debug=debug, hint=True)
        return AuditError.exit_code
    except Exception as error:  # the last resort: a bug, or a failure inside the user's model
        _explain(f"{type(error).__name__}: {error}", debug=debug, hint=True)
        return AuditError.exit_code
    return int(code or 0)


def _explain(message: str, *, debug: bool, hint: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    if hint and not debug:
        click.echo("(camaudit --debug … shows the traceback)", err=True)
