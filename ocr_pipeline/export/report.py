"""The parity figures of an exported model as a table to read."""

from ocr_pipeline.artifacts.exported import Drop, ExportedModel

_HEAD = (
    "| form | largest difference | allowed | mean | allowed | golden pictures | {metric} % "
    "| change, 95 % interval | other results |\n|---|---|---|---|---|---|---|---|---|"
)


def parity_table(model: ExportedModel) -> str:
    """Markdown: one row for each runtime and precision."""
    card = model.card
    what = "text" if card.model.task == "rec" else "boxes"
    metric = "exact" if card.model.task == "rec" else "hmean"
    rows = []
    for name, parity in card.backends.items():
        rows.append(
            f"| {name} | {parity.max_abs_diff:.1e} | {parity.tolerance:g} | "
            f"{parity.mean_abs_diff:.1e} | {parity.mean_tolerance:g} | same {what} on "
            f"{parity.pictures} | {_drop_cells(parity.drop)} |"
        )
    drops = [parity.drop for parity in card.backends.values() if parity.drop is not None]
    told = "No dataset was given: golden pictures alone decided."
    if drops:
        told = (
            f"The checkpoint's own numbers give {metric} {drops[0].reference:.2f} % on "
            f"{drops[0].samples} validation samples."
        )
    return (
        f"# {card.name}: parity with checkpoint {card.checkpoint[:12]}\n\n{told}\n\n"
        + "\n".join([_HEAD.format(metric=metric), *rows])
        + "\n"
    )


def _drop_cells(drop: Drop | None) -> str:
    if drop is None:
        return "not measured | | "
    change = drop.value - drop.reference
    return (
        f"{drop.value:.2f} | {change:+.2f} ({drop.low:+.2f} to {drop.high:+.2f}) | {drop.differing}"
    )
