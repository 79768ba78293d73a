"""`--dry-run`: what a pass would do and why, without doing it."""

from rich.table import Table

from cli.control import write_epoch
from cli.publishing.broker import content_limit
from cli.publishing.passes import Publisher
from cli.publishing.plan import TooManyDeletes, Unchanged, check_half, judge
from cli.publishing.walk import Left, shown


def preview(publisher: Publisher) -> None:
    """Print a row for each file and document about which something would be done or said."""
    wish, journal, summary, console = publisher.wish, publisher.journal, publisher.summary, publisher.console
    found, gone = publisher.look()
    limit = content_limit(publisher.settings, write_epoch(publisher.settings).topic)
    table = Table("would be", "document", "reason")
    changed = unchanged = 0
    for file in found:
        told = judge(file, journal, limit, wish.force)
        if isinstance(told, Left):
            summary.leave(told)
        elif isinstance(told, Unchanged):
            unchanged += 1
        else:
            changed += 1
            known = journal.get(file.doc_id)
            reason = "new" if known is None else "sent again" if known.digest == told.digest else "changed"
            table.add_row("published", shown(file.doc_id), reason)
    refused = None
    try:
        check_half(wish.folders, journal, gone)
    except TooManyDeletes as error:
        refused = None if wish.yes else error
    deleted = publisher.ours(gone, dry_run=True)
    for document in deleted:
        table.add_row("deleted", shown(document.doc_id), "its file is gone")
    for name, reason in summary.left.items():
        table.add_row("skipped", shown(name), reason)
    for name, reason in summary.failed.items():
        table.add_row("failed", shown(name), reason)
    if table.row_count:
        console.print(table, markup=False)
    if refused:
        console.print(f"would be refused: {refused}", markup=False, soft_wrap=True, style="red")
    console.print(
        f"{changed} would be published, {unchanged} unchanged, {len(deleted)} deleted, {len(summary.left)} skipped,"
        f" {len(summary.failed)} failed; nothing was sent"
    )
