"""The `edgecolor` command: one small file per subcommand, wired here. Errors are one line on stderr, exit status 2."""

import importlib
import signal
import sys
import threading

import typer

from edgecolor.errors import EdgeColorError

COMMANDS = (
    "colorize",
    "preview",
    "models",
    "doctor",
    "export",
    "build_plugins",
    "build_engine",
    "bench",
    "train",
    "fit_tokens",
    "teach_encoder",
    "evaluate",
    "coltran",
    "import_weights",
    "compare",
)

app = typer.Typer(
    name="edgecolor",
    help="Colorize black-and-white video files and pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name in COMMANDS:
    importlib.import_module(f"edgecolor.cli.{_name}").register(app)

# typer carries click inside itself in newer releases and beside itself in older ones; this class is right in both.
_ClickError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_NoArgs = "NoArgsIsHelpError"
INTERRUPTED, TERMINATED = 130, 143  # exit status after Ctrl-C, and after SIGTERM


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from edgecolor import __version__

        print(f"edgecolor {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, with 2 for anything the user can mend, with 130 or 143 when interrupted."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        status = app(args=arguments, standalone_mode=False)
    except EdgeColorError as error:
        _fail(str(error))
    except _ClickError as error:
        if type(error).__name__ == _NoArgs:
            print(error.format_message())
            sys.exit(0)
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a name that is too long, a folder that must not be entered: the system's own words
        if error.strerror is None:
            raise
        _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if status == INTERRUPTED:  # newer releases of typer return it, older ones raise
        print("edgecolor: interrupted; no unfinished file is left", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _terminate(*_) -> None:
    """So that whoever writes takes its unfinished file away, as after Ctrl-C."""
    sys.exit(TERMINATED)


def _fail(message: str) -> None:
    print(f"edgecolor: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
