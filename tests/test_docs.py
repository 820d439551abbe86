"""The README knows every setting, every route and every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main

from recall.api import create_app
from recall.base.settings import Settings
from recall.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def variables() -> list[str]:
    plain = {"database_url", "database_direct_url"}
    return [
        name.upper() if name in plain else f"RECALL_{name.upper()}"
        for name in Settings.model_fields
    ]


def routes() -> list[str]:
    schema = create_app(Settings()).openapi()
    return sorted(
        f"{method.upper()} {path}" for path, item in schema["paths"].items() for method in item
    )


def commands() -> list[str]:
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = list(getattr(command, "commands", ()))
        found += [f"recall {name} {each}" for each in inner] or [f"recall {name}"]
    return found


@pytest.mark.parametrize("name", variables())
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def defaults() -> list[tuple[str, str]]:
    """Return the settings that have a plain default, by variable, as the environment gives it."""
    return [
        (variable, str(int(value)) if isinstance(value, bool) else f"{value:g}")
        if isinstance(value, int | float)
        else (variable, value)
        for variable, field in zip(variables(), Settings.model_fields.values(), strict=True)
        if isinstance(value := field.default, str | int | float)
    ]


@pytest.mark.parametrize(("name", "value"), defaults())
def test_every_default_is_in_the_row_of_its_setting(name: str, value: str) -> None:
    (row,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
    assert f"`{value}`" in row.split("|")[2]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")


@pytest.mark.parametrize("route", routes())
def test_every_route_is_in_the_readme(route: str) -> None:
    """As `GET /sessions`, or several methods of one path as `GET|PUT /notes/{id}`."""
    method, _, path = route.partition(" ")
    lines = [line for line in README.splitlines() if f"{path}`" in line or f"{path} " in line]
    assert any(method in line for line in lines)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_readme(command: str) -> None:
    assert command in README
