"""Entry point of the ``imagedelta`` command. Each command is a file in imagedelta_cli/commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from imagedelta.errors import ImageDeltaError
from imagedelta_cli import exits
from imagedelta_cli.lazy import LazyGroup
from imagedelta_cli.stopping import stop_in_good_order, stop_listening

_HELP = """Container image updates for IoT Edge devices over thin, broken links.

Exit codes: 0 done; 1 refused or wrong content; 2 wrong use; 3 a service did not answer, try again;
of sets: 4 failed, 5 partly failed, 6 a person must act, 7 already there, 9 still under way; 8 dearer than allowed;
130 interrupted (129 terminal closed, 143 terminated)."""

cli = LazyGroup(package="imagedelta_cli.commands", folder=Path(__file__).with_name("commands"), help=_HELP)
click.version_option(package_name="imagedelta")(cli)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing but the code and the output tells the outcome."""
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        outcome = cli.main(args=arguments, prog_name="imagedelta", standalone_mode=False)
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as error:
        return exits.report_usage(error, as_json)
    except (click.Abort, KeyboardInterrupt) as error:
        return exits.report_stopped(error, as_json)
    except ImageDeltaError as error:
        return exits.report(error, as_json)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has left: a shell convention, not an error
        return exits.REFUSED
    except OSError as error:
        return exits.report_os_error(error, as_json)
    except Exception as error:
        return exits.report_defect(error, as_json)
    return outcome if isinstance(outcome, int) else exits.DONE


def main() -> None:
    """Console script."""
    stop_in_good_order()
    code = run()
    stop_listening()
    sys.exit(code)


if __name__ == "__main__":
    main()
