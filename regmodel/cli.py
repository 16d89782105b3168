"""The command ``regmodel``: finds its commands by entry point and turns errors into one line. Nothing else is in here.

A command is an entry point of group ``regmodel.commands``: its name is the word on the command line, its object a plain
function with typer annotations, or a ``typer.Typer`` of subcommands. Ours are found the same way as yours. Only the
command that is called gets imported, so that one heavy command does not slow the others down.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "regmodel.commands"

_ABOUT = """Network devices described once: emulated for QEMU over vfio-user, driven, judged and documented.

Start with `regmodel list`, look with `regmodel show igbvf`, boot a guest with `regmodel vm --device igbvf`.
"""


def _commands() -> dict[str, EntryPoint]:
    return {ep.name: ep for ep in sorted(entry_points(group=GROUP), key=lambda ep: ep.name)}


def _wanted(argv: list[str], known: dict[str, EntryPoint]) -> list[EntryPoint]:
    """The one command that is called, or all of them where the whole is asked for (``--help``, a typo)."""
    word = next((a for a in argv if not a.startswith("-")), None)
    return [known[word]] if word in known else list(known.values())


def main(argv: list[str] | None = None) -> None:
    """Run ``regmodel ARGV``. Exits with the status of the command, 1 or 2 on errors, 130 when interrupted."""
    import typer

    from regmodel.errors import RegmodelError

    argv = (sys.argv[1:] if argv is None else argv) or ["--help"]
    app = typer.Typer(
        name="regmodel",
        help=_ABOUT,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for ep in _wanted(argv, _commands()):
        command = ep.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=ep.name)
        else:
            app.command(ep.name, **getattr(command, "command_settings", {}))(command)
    usage_error: Any = typer.BadParameter.__base__  # of click, or of the copy of it that newer typers bring
    try:
        raise SystemExit(app(argv, prog_name="regmodel", standalone_mode=False))
    except usage_error as error:
        print(f"regmodel: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except RegmodelError as error:
        print("\n".join([f"regmodel: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        raise SystemExit(error.status) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(130) from None


def _one_line(error: Any) -> str:
    """What a word on the command line is wrong for, and where its right form is to be found."""
    said = " ".join(error.format_message().split()).rstrip(".")
    return f"{said}; see `{error.ctx.command_path if error.ctx else 'regmodel'} --help`"


def _root() -> None:
    """Keeps ``regmodel COMMAND`` a group even while a single command is loaded."""


if __name__ == "__main__":
    main()
