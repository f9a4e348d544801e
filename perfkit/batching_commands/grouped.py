"""Options of a command as frozen values: their fields are what typer shows.

An option that is None was not given.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import typer

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Show typer the fields of a command's dataclass parameters as options of the command."""
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    shown: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            kept = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            shown[name] = kept
            continue
        annotations = typing.get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            shown[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=annotations[field.name],
            )

    def run(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**made, **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {name: parameter.annotation for name, parameter in shown.items()}
    run.__signature__ = inspect.Signature(list(shown.values()))  # type: ignore[attr-defined]
    return run


def option(panel: str, words: str, **more: Any) -> Any:
    """Return an option under a heading of the help."""
    return typer.Option(help=words, rich_help_panel=panel, **more)


def given(options: Any, *names: str) -> list[str]:
    """Return those of the named options that were given."""
    return [flag(name) for name in names if getattr(options, name) is not None]


def not_negative(name: str, value: float | None) -> None:
    """Refuse a number that is negative or none, by the name of its option; infinity may pass."""
    if value is not None and not value >= 0:
        raise UsageError(f"{flag(name)} {value}: expected a number, 0 or more")


def flag(name: str) -> str:
    """Return an option as a person writes it."""
    return f"--{name.replace('_', '-')}"
