"""How a command line names a source: its system, its file or URL, its options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of the source: assume_tz=Europe/Berlin."),
]


def name_and_target(given: list[str]) -> tuple[str | None, str]:
    """Return the source's name, if one was given, and its file or URL as recall reads it."""
    from recall.base import urls

    if len(given) > 2:
        raise typer.BadParameter("give a source's name and one file or URL")
    return (given[0] if len(given) == 2 else None), urls.source(given[-1])


def options_by_name(options: list[str] | None) -> dict[str, Any]:
    """Return the source's options by name: true and false are switches, all else is text."""
    pairs = [option.partition("=") for option in options or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"--option {name!r} is not NAME=VALUE")
    switches = {"true": True, "false": False}
    return {name: switches.get(value.lower(), value) for name, _, value in pairs}
