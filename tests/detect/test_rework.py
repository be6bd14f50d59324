"""Rework rules: measured geometry, rings, precedence, and every mistake a rule can hold."""
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from core.config import load
from core.data.shapes import tight
from core.errors import ConfigError
from detect.foreground import ForegroundConfig, foreground
from detect.geometry import OF_DEFECT, OF_PART, defect_features, part_features
from detect.merging import Piece
from detect.rework import Judged, Rule, RulesConfig, holds, judge, judge_part, lint
from detect.ring import fit_ring, outline_faults

SIZE = (400, 360)
CENTRE, OUTER, INNER = (205.0, 178.0), 150, 100


def ring_mask() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]] + 0.5
    distance = np.hypot(columns - CENTRE[0], rows - CENTRE[1])
    return (distance < OUTER) & (distance > INNER)


def picture(part: np.ndarray) -> np.ndarray:
    return np.repeat(np.where(part, 70, 200).astype(np.uint8)[..., None], 3, 2)


def piece_of(mask: np.ndarray, label: str = "pit", score: float = 0.9) -> Piece:
    return Piece(label, score, *tight(mask, 0, 0))


def bar(length: int, width: int, degrees: float) -> Piece:
    mask = np.zeros(SIZE[::-1], np.uint8)
    corners = cv2.boxPoints(((200, 180), (length - 1, width - 1), degrees))
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return piece_of(mask.astype(bool))


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_a_bar_has_the_length_and_width_it_was_drawn_with(degrees):
    found = defect_features(bar(80, 9, degrees), picture(ring_mask()))
    assert found["length_px"] == pytest.approx(80, abs=2.5)
    assert found["width_px"] == pytest.approx(9, abs=2)
    assert found["skeleton_px"] == pytest.approx(80, abs=12)
    assert found["mean_width_px"] == pytest.approx(8.5, abs=2)
    assert found["perimeter_px"] == pytest.approx(178, rel=0.1)
    assert found["solidity"] > 0.85
    assert abs((found["orientation_deg"] - degrees + 90) % 180 - 90) < 7
    assert found["length_mm"] is None


def test_a_single_pixel_and_a_ring_have_all_features():
    one = np.zeros(SIZE[::-1], bool)
    one[180, 60] = True
    found = defect_features(piece_of(one), picture(ring_mask()), mm_per_px=0.1)
    assert set(found) == set(OF_DEFECT)
    assert found["area_px"] == found["width_px"] == found["skeleton_px"] == 1
    assert (found["length_mm"], found["area_mm2"]) == (pytest.approx(0.1 * 2 ** 0.5), pytest.approx(0.01))
    assert defect_features(piece_of(ring_mask()), picture(ring_mask()))["holes"] == 1


def test_contrast_is_signed_and_of_the_surroundings():
    pixels = np.full((100, 100, 3), 100, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[40:50, 40:60] = True
    pixels[mask] = 140
    assert defect_features(piece_of(mask), pixels)["contrast"] == pytest.approx(40)
    pixels[mask] = 30
    found = defect_features(piece_of(mask), pixels)
    assert found["contrast"] == pytest.approx(-70)
    assert not found["at_border"]
    corner = np.zeros((100, 100), bool)
    corner[:5, :5] = True
    assert defect_features(piece_of(corner), pixels)["at_border"]


def test_a_ring_is_measured_and_a_defect_has_its_place_on_it():
    ring = fit_ring(ring_mask())
    assert (ring.outer.x, ring.outer.y, ring.outer.radius) == pytest.approx((*CENTRE, OUTER), abs=0.6)
    assert (ring.inner.x, ring.inner.y, ring.inner.radius) == pytest.approx((*CENTRE, INNER), abs=0.6)
    assert ring.outer.roundness_px < 2
    assert ring.concentricity_px < 0.3
    assert ring.section_px == pytest.approx(np.full(720, 50), abs=2)
    mask = np.zeros(SIZE[::-1], bool)
    mask[168:188, int(CENTRE[0]) + 115:int(CENTRE[0]) + 125] = True
    found = defect_features(piece_of(mask), picture(ring_mask()), ring=ring, mm_per_px=0.1, sealing_face=(0.3, 0.6))
    assert found["radial"] == pytest.approx(0.4, abs=0.03)
    assert found["to_inner_mm"] == pytest.approx(1.5, abs=0.15)
    assert found["on_sealing_face"] is True
    assert min(found["angle_deg"], 360 - found["angle_deg"]) < 1
    assert found["span_deg"] == pytest.approx(10, abs=1)
    assert fit_ring(np.ones((50, 50), bool)) is None
    assert fit_ring(np.zeros((50, 50), bool)) is None


def test_flash_and_missing_material_show_on_the_outline_and_glints_do_not():
    part = ring_mask().astype(np.uint8)
    cv2.circle(part, (int(CENTRE[0] + OUTER), int(CENTRE[1])), 10, 1, -1)
    cv2.circle(part, (int(CENTRE[0]), int(CENTRE[1] - OUTER)), 14, 0, -1)
    cv2.ellipse(part, (205, 178), (125, 125), 0, 100, 170, 0, 3)
    ring = fit_ring(part.astype(bool))
    assert ring.outer.radius == pytest.approx(OUTER, abs=1)
    faults = outline_faults(part.astype(bool), ring, 3.0, 20)
    assert [len(faults[name]) for name in ("flash", "missing_material")] == [1, 1]
    crop, x, y = faults["flash"][0]
    assert abs(x + crop.shape[1] / 2 - (CENTRE[0] + OUTER + 6)) < 4
    assert outline_faults(ring_mask(), fit_ring(ring_mask()), 3.0, 20) == {"flash": [], "missing_material": []}


def test_an_oval_ring_is_no_fault():
    part = np.zeros(SIZE[::-1], np.uint8)
    cv2.ellipse(part, (200, 180), (150, 141), 20, 0, 360, 1, -1)
    cv2.ellipse(part, (200, 180), (100, 93), 20, 0, 360, 0, -1)
    ring = fit_ring(part.astype(bool))
    assert ring.outer.roundness_px > 6
    assert outline_faults(part.astype(bool), ring, 3.0, 20) == {"flash": [], "missing_material": []}


def test_part_features():
    pieces = [bar(40, 5, 0), Piece("pit", 0.8, np.ones((4, 4), bool), 20, 20)]
    found = part_features(pieces, ring=fit_ring(ring_mask()), mm_per_px=0.1)
    assert set(found) == set(OF_PART)
    assert found["defects"] == 2
    assert found["total_area_px"] == found["largest_area_px"] + 16
    assert found["spacing_mm"] == pytest.approx(0.1 * np.hypot(178, 158), abs=0.2)
    assert found["defects_per_10_mm"] == pytest.approx(20 / (np.pi * 25), rel=0.02)
    assert part_features([])["spacing_px"] is None


def rule(id: str, verdict: str, *conditions, **more) -> Rule:
    return Rule(id=id, verdict=verdict, reason=f"because of {id}", all=conditions, **more)


RULES = (rule("small", "good", ("area_px", "<", 20.0)), rule("long", "rework", ("length_px", ">=", 30.0)),
         rule("crack", "reject", ("label", "in", ("crack", "tear"))), rule("unsure", "review", ("score", "<", 0.5)),
         rule("longer", "rework", ("length_px", ">=", 60.0)))
OTHERWISE = Judged("reject", "unmatched", "")


@pytest.mark.parametrize(("values", "verdict", "by"), [
    ({"area_px": 10.0, "length_px": 5.0, "label": "pit", "score": 0.9}, "good", "small"),
    ({"area_px": 10.0, "length_px": 35.0, "label": "pit", "score": 0.9}, "rework", "long"),
    ({"area_px": 99.0, "length_px": 70.0, "label": "pit", "score": 0.9}, "rework", "long"),
    ({"area_px": 10.0, "length_px": 35.0, "label": "pit", "score": 0.4}, "review", "unsure"),
    ({"area_px": 10.0, "length_px": 35.0, "label": "tear", "score": 0.4}, "reject", "crack"),
    ({"area_px": 99.0, "length_px": 5.0, "label": "pit", "score": 0.9}, "reject", "unmatched"),
])
def test_the_worst_verdict_wins_and_its_first_rule_gives_the_reason(values, verdict, by):
    judged = judge(values, RULES, OTHERWISE)
    assert (judged.verdict, judged.rule) == (verdict, by)


def test_all_any_none_and_what_is_unknown():
    mixed = Rule(id="m", verdict="reject", reason="r", all=(("score", ">", 0.5),),
                 any=(("area_px", ">", 10.0), ("holes", ">=", 1.0)), none=(("at_border", "==", True),))
    sure = {"score": 0.9, "area_px": 50.0, "holes": 0.0, "at_border": False}
    assert holds(mixed, sure) is True
    assert holds(mixed, {**sure, "area_px": 5.0}) is False
    assert holds(mixed, {**sure, "at_border": True}) is False
    assert holds(mixed, {**sure, "at_border": None}) is None
    assert holds(mixed, {**sure, "holes": None}) is True, "the other alternative holds"
    assert holds(mixed, {**sure, "score": 0.1, "at_border": None}) is False
    unknown = judge({**sure, "at_border": None}, [mixed], Judged("good", "empty", ""))
    assert (unknown.verdict, unknown.rule) == ("review", "unmeasured")
    assert "at_border is unknown" in unknown.reason


def test_a_part_from_picture_to_verdict():
    pixels = picture(ring_mask())
    part = foreground(pixels, ForegroundConfig())
    rules = RulesConfig(rules=(rule("speck", "good", ("area_px", "<=", 16.0)),
                               rule("trim", "rework", ("label", "==", "flash")),
                               rule("crowd", "reject", ("defects", ">", 2.0), scope="part"),
                               rule("two", "review", ("count:pit", ">=", 2.0), scope="part")))
    assert judge_part([], pixels, part, rules).part == Judged("good", "empty", "nothing found")
    pit = Piece("pit", 0.9, np.ones((4, 4), bool), 200, 50)
    judged = judge_part([pit], pixels, part, rules)
    assert (judged.part.verdict, judged.part.rule, judged.part.measured) == (
        "good", "speck", (("area_px", 16.0, "<=", 16.0),))
    assert judge_part([pit, pit], pixels, part, rules).part.rule == "two"
    assert judge_part([pit] * 3, pixels, part, rules).part.verdict == "reject"
    broken = ring_mask().astype(np.uint8)
    cv2.circle(broken, (205, 28), 14, 0, -1)
    pixels = picture(broken > 0)
    judged = judge_part([], pixels, foreground(pixels, ForegroundConfig()), rules)
    assert [piece.label for piece in judged.defects] == ["missing_material"], "the network found nothing"
    seen = piece_of(ring_mask() & (broken == 0), "gap")
    assert [piece.label for piece in judge_part([seen], pixels, foreground(pixels, ForegroundConfig()), rules).defects
            ] == ["gap"], "what was found already is not told twice"
    assert (judged.part.verdict, judged.part.rule) == ("reject", "unmatched")


@pytest.mark.parametrize(("conditions", "message"), [
    ((("lenght_px", ">", 3.0),), "Did you mean 'length_px'"),
    ((("length_px", "between", (5.0, 2.0)),), "two numbers, the smaller first"),
    ((("length_px", "in", 5.0),), "a list"),
    ((("length_px", ">", (5.0, 6.0)),), "one value"),
    ((("label", ">", "pit"),), "names, by == != or in"),
    ((("length_px", "==", "long"),), "with numbers"),
])
def test_a_wrong_rule_is_named(conditions, message):
    with pytest.raises(ValidationError, match=message):
        rule("x", "reject", *conditions)


def test_mm_and_sealing_face_need_their_settings_and_ids_are_unique(tmp_path):
    with pytest.raises(ValidationError, match="'x' must have mm_per_px for length_mm"):
        RulesConfig(rules=(rule("x", "reject", ("length_mm", ">", 1.0)),))
    with pytest.raises(ValidationError, match="must have sealing_face"):
        RulesConfig(rules=(rule("x", "reject", ("on_sealing_face", "==", True)),))
    with pytest.raises(ValidationError, match="got 'x' twice"):
        RulesConfig(rules=(rule("x", "reject"), rule("x", "good")))
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - {id: a, verdict: reject, reason: r, all: [[lenght_px, '>', 3]]}\n")
    with pytest.raises(ConfigError, match="lenght_px"):
        load(RulesConfig, file)


def test_lint_names_what_cannot_hold_never_counts_or_never_held():
    rules = RulesConfig(rules=(rule("long", "rework", ("length_px", ">", 5.0)),
                               rule("longer", "rework", ("length_px", ">", 5.0), ("score", ">", 0.5)),
                               rule("no", "reject", ("length_px", ">", 9.0), ("length_px", "<", 3.0))))
    lines = lint(rules)
    assert lines[0].startswith("longer: never gives the reason, long holds wherever it does")
    assert lines[1].startswith("no: can never hold, length_px would have to be above 9 and below 3")
    pixels = picture(ring_mask())
    seen = [judge_part([bar(40, 9, 0)], pixels, foreground(pixels, ForegroundConfig()), rules)]
    assert lint(rules, seen)[-1] == "no: held for none of 1 parts"
