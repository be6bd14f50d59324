"""What each reason of rejection means, and what a user can do about it."""
from collections import Counter
from collections.abc import Iterable

MOST = 0.9          # share of the wanted defects from which on nothing is said

# reason, as the gate and the maker give it -> (what it means, what to do)
ADVICE = {
    "no place": ("no free place of that size was found on the image",
                 "Ask for fewer or smaller defects (--per-image, --size-px), or give larger good images"),
    "empty label": ("what was drawn changed no pixel enough to be labelled",
                    "Check that the labels lie on the defects, and that the good images show the same part"),
    "not visible": ("the change was no clearer than the grain round it",
                    "Look at the real defects in the report, or lower gate.visibility and gate.contrast with --set"),
    "too large": ("the label outgrew its box or its window",
                  "Check that the labels are tight, or raise gate.outgrown and gate.cover with --set"),
    "scattered label": ("the label was a handful of specks",
                        "Check that the labels lie on the defects, or raise gate.scatter with --set"),
    "fits badly": ("the defect did not suit what lies round it",
                   "Give good images of the same part, light and scale, or raise gate.misfit with --set"),
    "joined wrongly": ("the defect touched what lies round it in other places than the real ones do",
                       "Give good images of the same part, or say --set gate.contacts=false"),
    "near copy": ("the defect was nearly a training defect",
                  "Give the generator more training defects or training, or raise gate.near_copy with --set"),
}


def shortfall(lines: Iterable[dict]) -> str | None:
    """Why manifest lines lack defects that were wanted: what their tries failed of most, and what to do about it.

    None where every image has one and nearly all were drawn.
    """
    lines = list(lines)
    wanted, drawn = sum(line["wanted"] for line in lines), sum(len(line["defects"]) for line in lines)
    empty = sum(line["image"] is None for line in lines)
    reasons = Counter(item["reason"] for line in lines for item in given_up(line))
    if not reasons or not (empty or drawn < MOST * wanted):
        return None
    reason, count = reasons.most_common(1)[0]
    meaning, way_out = ADVICE.get(reason, ("the gate refused it", "The report shows more"))
    left = f" and {empty} image{'' if empty == 1 else 's'} with none" if empty else ""
    return (f"{wanted - drawn} of {wanted} defects were given up{left}: {count} of {sum(reasons.values())} tries at "
            f"them failed as '{reason}': {meaning}. {way_out}")


def given_up(line: dict) -> list[dict]:
    """The rejected tries of a manifest line, without those at defects that a later try drew."""
    drawn = {entry.get("number") for entry in line["defects"]}      # none in the manifests of earlier versions
    return [entry for entry in line["rejected"] if entry["number"] not in drawn]
