"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from recall.errors import RecallError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from recall.settings import Settings

app = typer.Typer(
    help="Find any message or note of an agent again, by meaning and by words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="Keys for callers that are not on this machine.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Tenant = Annotated[str, typer.Option(help="Whose memories.")]


def _settings(**overrides: Any) -> Settings:
    from recall.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    return Settings.load(**given)


def _log(level: int = logging.INFO) -> None:
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for library in ("httpx", "sentence_transformers", "psycopg.pool"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; what recall can explain ends with its sentence and status 1."""
    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            runner.run(work)
    except RecallError as error:
        _fail(error)


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return new_event_loop


def _fail(error: RecallError) -> NoReturn:
    typer.secho(f"recall: {error}", err=True, fg="red")
    raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on.")] = None,
) -> None:
    """Serve HTTP, with a worker inside."""
    _log()

    async def work() -> None:
        import signal

        import uvicorn

        from recall.api import Connection, create_app, running

        settings = _settings(host=host, port=port)
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Connection,
            lifespan="off",  # opened here, so that a refusal is one sentence
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )
        async with running(app, settings):
            # Uvicorn raises again the signal that stopped it; an orderly close is still to come.
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, lambda: None)
            await uvicorn.Server(config).serve()

    _run(work())


@app.command()
def worker(
    once: Annotated[bool, typer.Option(help="Stop when nothing is due.")] = False,
) -> None:
    """Index queued memories, beside any number of other workers."""
    _log()

    async def work() -> None:
        import signal

        from recall.followers import following
        from recall.service import open_service, work_alone

        async with open_service(_settings()) as service:
            if once:
                typer.echo(f"{await service.worker.drain()} memories indexed")
                return
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, service.worker.stop)
            nudge = service.worker.nudge
            async with following(service.database, service.direct_url, nudge):
                await work_alone(service)

    _run(work())


@app.command()
def migrate(
    status: Annotated[bool, typer.Option("--status", help="Only show what is applied.")] = False,
) -> None:
    """Bring the database's schema to this version's."""
    from recall import embedded
    from recall import migrate as migration

    try:
        settings = _settings()
        use = embedded.start(settings.home) if settings.embedded else None
        url = use.server.url() if use else settings.direct_url
        if status:
            for file in migration.status(url):
                typer.echo(f"{'applied' if file.applied else 'pending'}  {file.name}")
            return
        names = migration.migrate(url)
        typer.echo("\n".join(f"applied  {name}" for name in names) or "nothing to apply")
    except RecallError as error:
        _fail(error)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to find.")],
    mode: Annotated[str, typer.Option(help="hybrid, semantic or keyword.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits to show.")] = 10,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time.")] = None,
    explain: Annotated[bool, typer.Option(help="Show the parts of each score.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Ask a question and print what is found."""
    _log(logging.WARNING)

    async def work() -> None:
        from pydantic import ValidationError

        from recall import keys
        from recall.errors import Invalid
        from recall.models import Question, sentence
        from recall.service import open_service

        given = {"user_id": user, "since": since, "until": until}
        try:
            question = Question(
                query=query,
                mode=mode,  # type: ignore[arg-type]  # checked by the model
                limit=limit,
                explain=explain,
                **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]
            )
        except ValidationError as error:
            raise Invalid(sentence(error)[1]) from error
        async with open_service(_settings()) as service:
            of_tenant = await keys.tenant_id(service.database, tenant)
            answer = await service.searcher.recall(of_tenant, question)
        if as_json:
            from pydantic_core import to_json

            typer.echo(to_json(answer, indent=2).decode())
        else:
            from recall.tables import print_answer

            print_answer(answer)

    _run(work())


@app.command()
def status(
    tenant: Tenant = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show how much is remembered, how much of it waits, and on what it runs."""
    _log(logging.WARNING)

    async def work() -> None:
        from recall import keys, profiles
        from recall.service import open_database
        from recall.status import status as read

        async with open_database(_settings()) as database:
            of_tenant = await keys.tenant_id(database, tenant)
            found = await read(database, of_tenant, await profiles.active(database))
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            from recall.tables import print_status

            print_status(found)

    _run(work())


Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of the source: assume_tz=Europe/Berlin."),
]
What = Annotated[list[str], typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to read.")]


@app.command()
def backfill(
    what: What,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Whose memories that name no user are.")] = None,
    since: Annotated[str | None, typer.Option(help="Skip what is older than this time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows to read.")] = None,
    option: Options = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read all, store nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    index: Annotated[
        bool, typer.Option(help="Index here; otherwise a running worker does it.")
    ] = True,
    skipped: Annotated[
        Path | None,
        typer.Option(help="File to write skipped rows to; default: RECALL_HOME/skipped/…"),
    ] = None,
) -> None:
    """Store a whole history: an OpenZess database, a JSONL file, and others.

    Can be stopped at any point and run again; what is known is not stored twice.
    """
    _log(logging.WARNING)
    name, target = _name_and_target(what)

    async def work() -> None:
        from recall.backfill import Wanted
        from recall.backfill_command import Order, run, try_out

        wanted = Wanted(user, _time(since), limit, strict)
        order = Order(target, name, _given(option), tenant, wanted, index, skipped)
        await (try_out(order) if dry_run else run(_settings(), order))

    _run(work())


@app.command()
def follow(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to follow; none: show those."),
    ] = None,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Whose memories that name no user are.")] = None,
    option: Options = None,
    longest_wait: Annotated[
        float, typer.Option(min=0.5, help="Most seconds between two looks at a quiet server.")
    ] = 900.0,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Tables beside recall's tell when they change.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Let a `recall serve` or worker follow it.")
    ] = False,
    unregister: Annotated[bool, typer.Option("--unregister", help="Follow it no more.")] = False,
    index: Annotated[
        bool, typer.Option(help="Index here; otherwise a running worker does it.")
    ] = True,
) -> None:
    """Follow a history that goes on: what is new, edited and deleted, until Ctrl-C.

    Without an argument the registered sources are listed. A URL with a password is registered as
    '$NAME', the name of an environment variable that holds it.
    """
    _log(logging.WARNING)
    name, target = _name_and_target(what or [""])
    if Path(target).exists():
        target = str(Path(target).absolute())  # a worker may run elsewhere

    async def work() -> None:
        from recall import follow_command
        from recall.errors import NotFound
        from recall.register import Followed

        if not what:
            return await follow_command.show(_settings())
        if unregister:
            if not await follow_command.remove(_settings(), tenant, target):
                raise NotFound(f"{target} is not registered.")
            return None
        followed = Followed(target, name, _given(option), user, longest_wait, trigger)
        if register:
            return await follow_command.add(_settings(), tenant, followed)
        return await follow_command.run(_settings(), tenant, followed, index)

    _run(work())


def _name_and_target(what: list[str]) -> tuple[str | None, str]:
    if len(what) > 2:
        raise typer.BadParameter("give a source's name and one file or URL")
    return (what[0] if len(what) == 2 else None), what[-1]


def _given(options: list[str] | None) -> dict[str, Any]:
    """Return the source's options by name: true and false are switches, all else is text."""
    pairs = [option.partition("=") for option in options or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"--option {name!r} is not NAME=VALUE")
    switches = {"true": True, "false": False}
    return {name: switches.get(value.lower(), value) for name, _, value in pairs}


def _time(text: str | None) -> datetime | None:
    from recall.sources.clock import instant

    found = instant(text)
    if text is not None and found is None:
        raise typer.BadParameter(
            f"--since {text!r} is no time such as 2026-01-31 or 2026-01-31T12:00Z"
        )
    return found


@app.command(name="eval")
def evaluate(
    file: Annotated[Path, typer.Argument(help="Evaluation set, JSONL.")],
    mode: Annotated[str, typer.Option(help="hybrid, semantic, keyword or all.")] = "all",
    rrf: Annotated[bool, typer.Option("--rrf", help="Also fuse the legs by rank.")] = False,
    legs: Annotated[
        bool, typer.Option("--leg", help="Also each leg on the turn alone, without context.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw R@k into this file (PNG, SVG).")] = None,
) -> None:
    """Measure R@k and latency on a set of questions with known evidence.

    A line is {"type": "message", conversation, session_id, key, author, role, content,
    created_at}, {"type": "note", conversation, key, title, content, created_at} or {"type":
    "question", conversation, query, evidence: [keys], category}. Each conversation becomes a
    tenant of its own in a scratch database, which is removed afterwards.
    """
    _log(logging.WARNING)

    async def work() -> None:
        from recall.evaluate.command import Comparison, run

        summaries = await run(_settings(), file, Comparison(mode, rrf, legs))
        if as_json:
            from pydantic_core import to_json

            typer.echo(to_json(summaries, indent=2).decode())
        else:
            from recall.tables import print_evaluation

            print_evaluation(file.name, summaries)
        if plot:
            from recall.evaluate.plot import draw

            draw(file.name, summaries, plot)

    _run(work())


@app.command()
def bench(
    corpus: Annotated[Path | None, typer.Option(help="Messages, JSONL or .gz; made up.")] = None,
    memories: Annotated[int, typer.Option(help="Memories to ask.")] = 10_000,
    clients: Annotated[str, typer.Option(help="How many ask at once.")] = "1,8,32",
    questions: Annotated[int, typer.Option(help="Questions of each kind.")] = 200,
    growth: Annotated[str, typer.Option(help="Sizes to measure at: 1000,10000,…")] = "",
    tenants: Annotated[int, typer.Option(help="Tenants to stand beside one.")] = 0,
    as_json: Annotated[Path | None, typer.Option("--json", help="File to write to.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder to draw into.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch database.")] = False,
) -> None:
    """Measure speed here, each figure beside its floor, in scratch databases removed afterwards."""
    _log(logging.WARNING)

    async def work() -> None:
        from recall.evaluate.bench.command import Wanted, run
        from recall.evaluate.bench.tables import print_results, saying

        wanted = Wanted(
            corpus, memories, _numbers(clients), questions, _numbers(growth), tenants, keep
        )
        with saying() as say:
            results = await run(_settings(), wanted, say)
        print_results(results)
        if as_json:
            from pydantic_core import to_json

            as_json.write_bytes(to_json(results, indent=2))
        if plot:
            from recall.evaluate.bench.plot import draw

            draw(results, plot)

    _run(work())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of numbers like 1,8,32") from error


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Put right what is wrong.")] = False,
) -> None:
    """Look for what is wrong in the index; status 1 when something is and stays so."""
    _log(logging.WARNING)

    async def work() -> None:
        from recall import build
        from recall.doctor import examine
        from recall.service import open_database

        settings = _settings()
        async with open_database(settings) as database:
            built = await build.examine(database, settings, fix)
            findings = [built, *await examine(database, fix)]
        for finding in findings:
            state = "ok" if not finding.found else "fixed" if finding.repaired else "WRONG"
            typer.echo(f"{state:<6} {finding.found:>8,}  {finding.counts}")
        if any(finding.found and not finding.repaired for finding in findings):
            raise typer.Exit(1)

    _run(work())


@app.command()
def language(
    name: Annotated[str, typer.Argument(help="A Snowball language of Postgres, or simple.")],
    tenant: Tenant = "default",
) -> None:
    """Stem a tenant's words by another language, and queue its memories again."""
    _log(logging.WARNING)

    async def work() -> None:
        from recall import keys
        from recall.languages import set_language
        from recall.service import open_database

        async with open_database(_settings()) as database:
            of_tenant = await keys.tenant_id(database, tenant)
            queued = await set_language(database, of_tenant, name)
        typer.echo(f"{queued:,} memories will be indexed again, by `recall serve` or a worker")

    _run(work())


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Who will use it.")], tenant: Tenant = "default"
) -> None:
    """Make a key and print it, this once."""

    async def work() -> None:
        from recall import keys
        from recall.service import open_database

        async with open_database(_settings()) as database:
            typer.echo(await keys.create(database, tenant, name))

    _run(work())


@keys_app.command("list")
def keys_list() -> None:
    """List every key, without the key."""

    async def work() -> None:
        from recall import keys
        from recall.service import open_database

        async with open_database(_settings()) as database:
            for key in await keys.listed(database):
                state = "revoked" if key.revoked_at else "live"
                typer.echo(f"{key.id}\t{state}\t{key.tenant}\t{key.name}\t{key.created_at:%F}")

    _run(work())


@keys_app.command("revoke")
def keys_revoke(id: Annotated[int, typer.Argument(help="The key's number.")]) -> None:
    """Make a key open nothing any more."""

    async def work() -> None:
        from recall import keys
        from recall.service import open_database

        async with open_database(_settings()) as database:
            await keys.revoke(database, id)

    _run(work())


if __name__ == "__main__":
    sys.exit(app())
