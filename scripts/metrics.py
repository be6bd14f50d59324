"""Compare made pictures with the true ones of the same names: PSNR, SSIM, L1, edges, distances of the whole sets."""
import argparse
import io
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.command import run_command, starting  # noqa: E402

with starting():
    import numpy as np

    from core.data.images import write_bytes
    from core.errors import ConfigError, OutputError
    from core.metrics import features, folders, lpips, resize
    from core.progress import Progress

SHOWN_ROWS = 20
SIGMA = 3.0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data", type=Path, required=True, metavar="DIR",
                      help="the true pictures; KIND/SPLIT stands for KIND/images/SPLIT of MIDG's layout")
    made.add_argument("--output", type=Path, required=True, metavar="DIR",
                      help="the made pictures; the results are written beside them")
    made.add_argument("--mask", type=Path, metavar="DIR",
                      help="masks of the defects (white > 127), for figures in the mask and of defect crops; found by "
                           "itself in MIDG's layout")
    made.add_argument("--results", type=Path, metavar="DIR", help="write metrics.txt, .json and .npz there instead")
    made.add_argument("--partial", action="store_true", help="compare what both folders have; else a gap is an error")
    made.add_argument("--legacy", action="store_true",
                      help="the figures of MIDG's earlier script: grey PSNR, grey SSIM of 51 px, relative MAE")
    made.add_argument("--edges", type=float, nargs="?", const=SIGMA, metavar="SIGMA",
                      help=f"--output holds edge maps: precision and recall against Canny edges of --data at SIGMA "
                           f"({SIGMA:g}); 0: --data holds edge maps as well")
    made.add_argument("--features", default="scattering", metavar="NAME",
                      help=f"extractor of the sets' distances: {', '.join(features.EXTRACTORS)}; none leaves them out")
    made.add_argument("--weights", metavar="FILE", help="the extractor's weights, a local file, or 'download'")
    made.add_argument("--resize", default="clean", metavar="MODE", help=f"its resizing: {', '.join(resize.RESIZES)}")
    made.add_argument("--lpips", nargs=2, metavar=("BACKBONE_FILE", "HEADS_FILE"), help="weights for LPIPS")
    made.add_argument("--lpips-backbone", default="alexnet", metavar="NAME", help=", ".join(lpips.BACKBONES))
    made.add_argument("--device", default="cpu", help="where networks run: cpu, cuda")
    return made


def main() -> None:
    given = parser().parse_args()
    if given.legacy and (given.mask or given.lpips or given.edges is not None):
        raise ConfigError("--legacy: whole pictures alone, got --mask, --lpips or --edges as well. Leave those out: "
                          "the earlier script had no masks, and its LPIPS and FID were wrong")
    data, output = folders.picture_folder(given.data), folders.picture_folder(given.output)
    mask = given.mask or (None if given.legacy else folders.mask_folder(data))
    target = given.results or output
    if given.results and given.results.exists() and not given.results.is_dir():
        raise OutputError(f"--results: not a folder, got {given.results}. Give a folder")
    pairs = folders.find_pairs(data, output, mask, partial=given.partial)
    found = {"data": str(data), "output": str(output), "mask": str(mask) if mask else None, "pairs": len(pairs),
             **(edges(pairs, given) if given.edges is not None else pictures(pairs, given))}
    lines = page(found)
    target.mkdir(parents=True, exist_ok=True)
    write_bytes(target / "metrics.json", (json.dumps(plain(found), indent=1, ensure_ascii=False) + "\n").encode())
    write_bytes(target / "metrics.npz", arrays(found["pictures"]))
    write_bytes(target / "metrics.txt", ("\n".join(page(found, whole=True)) + "\n").encode())
    print("\n".join([*lines, "", f"written: {target / 'metrics.txt'}, metrics.json, metrics.npz"]))


def pictures(pairs: list[folders.Pair], given: argparse.Namespace) -> dict:
    """Figures of every pair, their means, and the distances of the two sets."""
    wants_sets = given.features != "none" and not given.legacy
    extract = features.extractor(given.features, given.weights, resize=given.resize, device=given.device,
                                 ) if wants_sets else None
    measure = lpips.Lpips(*given.lpips, backbone=given.lpips_backbone, device=given.device) if given.lpips else None
    rows, crops = [], ([], [])
    with Progress(len(pairs), "pairs") as progress:
        for pair in pairs:
            true, made, mask = pair.read()
            figures = folders.pair_figures(pair, true, made, mask, legacy=given.legacy, measure=measure)
            rows.append({"name": pair.name, **figures})
            if extract:
                for kept, picture in zip(crops, (true, made)):
                    kept += [picture] if mask is None else features.defect_crops(picture, mask)
            progress.step()
    result = {"legacy": given.legacy, "pictures": rows, "means": folders.averages(figures_of(rows)),
              "identical": sum(math.isinf(row["psnr"]) for row in rows)}
    if extract:
        result["compared"] = f"{len(crops[0])} {'defect crops' if pairs[0].mask else 'whole pictures'} of each set"
        result["sets"] = features.compare(*crops, extract)
    return result


def edges(pairs: list[folders.Pair], given: argparse.Namespace) -> dict:
    """Precision and recall of every edge map and of all together."""
    counts = [folders.pair_edges(pair, given.edges) for pair in pairs]
    rows = [{"name": pair.name, **folders.summed_edges([one])} for pair, one in zip(pairs, counts)]
    return {"sigma": given.edges, "pictures": rows, "means": folders.summed_edges(counts)}


def page(found: dict, *, whole: bool = False) -> list[str]:
    """The lines that are printed; `whole`: with every picture, however many there are."""
    names = list(found["means"])
    rows = found["pictures"] if whole else found["pictures"][:SHOWN_ROWS]
    total = {"name": "all edges together" if "sigma" in found else "mean", **found["means"]}
    width = max(len(row["name"]) for row in [*rows, total])
    cells = [(row["name"], [number(row[name], name) for name in names]) for row in [*rows, total]]
    widths = [max(len(title(name, found)), 8) for name in names]
    lines = [f"{found['pairs']} pairs: {found['output']} against {found['data']}"]
    lines += [f"masks: {found['mask']}"] if found["mask"] else []
    lines += ["", *("  ".join([name.ljust(width), *(cell.rjust(side) for cell, side in zip(row, widths))])
                    for name, row in [("", [title(name, found) for name in names]), *cells])]
    if len(found["pictures"]) > len(rows):
        lines.append(f"({len(found['pictures']) - len(rows)} more pictures are in metrics.txt)")
    if found.get("identical"):
        lines.append(f"{found['identical']} pairs are identical: their PSNR is infinite and not in the mean")
    if "sets" in found:
        lines += ["", f"The two sets, {found['compared']}:"]
        side = max(map(len, found["sets"]))
        lines += [f"  {name.ljust(side)}  {number(value) if value is not None else 'too few pictures'}"
                  for name, value in found["sets"].items()]
    return lines


def title(name: str, found: dict) -> str:
    """A figure's name in the table."""
    known = folders.LEGACY_FIGURES if found.get("legacy") else folders.FIGURES
    base = name.removesuffix("_in_mask")
    return known.get(base, base.upper() if base == "lpips" else base) + (" (in mask)" if base != name else "")


def number(value: float, name: str = "") -> str:
    """dB and large figures with two digits behind the point, the rest with four."""
    return f"{value:.2f}" if name.startswith("psnr") or abs(value) >= 10 else f"{value:.4f}"


def figures_of(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "name"} for row in rows]


def arrays(rows: list[dict]) -> bytes:
    """The figures as arrays, one entry a picture, by the names that the earlier script gave them (psnr, ssim, mae)."""
    buffer = io.BytesIO()
    columns = {name.replace(" ", "_"): np.array([row[name] for row in rows]) for name in rows[0] if name != "name"}
    if "l1" in columns:
        columns["mae"] = columns["l1"]
    np.savez(buffer, names=np.array([row["name"] for row in rows]), **columns)
    return buffer.getvalue()


def plain(value: object) -> object:
    """For JSON, which knows no infinity: it becomes the text "inf"."""
    if isinstance(value, dict):
        return {key: plain(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [plain(inside) for inside in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    run_command(main)
