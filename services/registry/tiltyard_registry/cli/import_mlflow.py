"""`tiltyard import`: an MLflow server moves in, its database copied and compared."""

import asyncio
from typing import TYPE_CHECKING

import click

from tiltyard.cli import options
from tiltyard_registry.cli.migrate import upgrade
from tiltyard_registry.settings import RegistrySettings

if TYPE_CHECKING:
    from tiltyard_registry.importing.report import Report


@click.command("import")
@options.option(
    "--from",
    "source_url",
    env="IMPORT_FROM",
    required=True,
    metavar="URL",
    help="Database of the MLflow server (3.x): sqlite:///mlflow.db or postgresql://…; it is only read.",
)
@options.option(
    "--artifacts",
    env="IMPORT_ARTIFACTS",
    metavar="ROOT",
    help="Its artifact root (--artifacts-destination): a folder or s3://…, copied into ours. Without it, files are "
    "pinned where our root has them already, and recorded as external elsewhere.",
)
@options.option(
    "--old-root",
    "old_roots",
    env="IMPORT_OLD_ROOT",
    metavar="ROOT",
    multiple=True,
    help="What the artifact root was called when the server stored its locations, such as /old/place/artifacts or "
    "./mlruns, if that is no longer --artifacts. May be repeated; in the variable, blanks separate them.",
)
@options.option(
    "--default-as",
    env="IMPORT_DEFAULT_AS",
    metavar="NAME",
    help="Import the server's experiment 0 under this name and another number: for a registry whose own experiment 0 "
    "is in use.",
)
@options.option(
    "--allow-missing-files",
    env="IMPORT_ALLOW_MISSING_FILES",
    is_flag=True,
    help="End with status 0 although files were left out, are missing, or lie where this registry does not keep "
    "them. They are named all the same.",
)
@options.option(
    "--workspace",
    env="IMPORT_WORKSPACE",
    default="default",
    show_default=True,
    help="The workspace to import, of a server that has several.",
)
@options.of(RegistrySettings, "data_dir", "database_url", "artifact_root", to="settings")
@options.option(
    "--dry-run", env="IMPORT_DRY_RUN", is_flag=True, help="Look for conflicts and count, and write nothing."
)
def import_mlflow(
    settings: RegistrySettings,
    source_url: str,
    artifacts: str | None,
    old_roots: tuple[str, ...],
    default_as: str | None,
    allow_missing_files: bool,
    workspace: str,
    dry_run: bool,
) -> None:
    """Import the experiments, runs and models of an MLflow server, and compare both sides.

    Stop the MLflow server first, or import again after it stopped: what is here already is not copied twice, and an
    import that was interrupted goes on where it was. Ids, version numbers and times are kept. The exit status is 1
    when the two sides differ at the end, or when files of runs and models are not where this registry finds them.
    """
    from tiltyard_registry.importing import job

    if settings.is_embedded and not dry_run:
        upgrade(settings)
    request = job.Request(
        source_url,
        settings.resolved_database_url,
        settings.resolved_artifact_root,
        artifacts,
        old_roots,
        workspace,
        default_as,
    )
    report = asyncio.run(job.run(request, lambda line: click.echo(line, err=True), dry_run=dry_run))
    _show_names(report)
    _show_left_out(report)
    _show_table(report, dry_run=dry_run)
    if not dry_run and not report.equal:
        raise click.ClickException("The two sides differ. Nothing was changed there; import again to go on.")
    if report.files_missing and not allow_missing_files:
        raise click.ClickException(
            "Files were left out, are missing, or lie elsewhere; they are named above. If that is as it should be, "
            "say --allow-missing-files."
        )


def _show_names(report: "Report") -> None:
    from tiltyard_registry.importing.names import RULE

    if not report.renamed:
        return
    click.echo(f"\nModels under another name. {RULE}")
    for there, here in sorted(report.renamed.items()):
        click.echo(f"  {there!r} -> {here!r}")


def _show_left_out(report: "Report") -> None:
    for workspace in report.other_workspaces:
        click.echo(f"Not imported: workspace '{workspace}' (--workspace).")
    for noun, count in report.left_out.items():
        if count:
            click.echo(f"Not imported: {count} {noun}, which have no place here.")
    for line in report.lines_of_files():
        click.echo(line)
    if report.versions_without_files:
        click.echo(
            f"Recorded as external, without a manifest: {report.versions_without_files} model versions whose files are "
            "not below our artifact root."
        )


def _show_table(report: "Report", *, dry_run: bool) -> None:
    if dry_run:
        click.echo(f"\n{'':22}{'there':>12}")
        for compared in report.compared:
            click.echo(f"{compared.noun:22}{compared.there.rows:>12}")
        return
    click.echo(f"\n{'':22}{'there':>12}{'here':>12}  {'checksum there':18}{'checksum here':18}equal")
    for compared in report.compared:
        there, here = compared.there, compared.here
        click.echo(
            f"{compared.noun:22}{there.rows:>12}{here.rows:>12}  {there.checksum:016x}  {here.checksum:016x}  "
            f"{'yes' if compared.equal else 'NO'}"
        )
    click.echo(f"Model versions with a manifest: {report.versions_with_files}")
