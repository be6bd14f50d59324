"""An open cuts a conductor through, a short bridges two, a spur grows out of one, an island touches none."""
from collections import Counter

import numpy as np
import pytest

from core.augment.bank import DefectBank
from core.augment.contacts import Joint, _rule, contacts, joins, share_of_rim, usual_contacts
from core.augment.gate import Gate, scatter
from core.augment.settings import GateSettings
from core.data import formats

DARK, BRIGHT = (30, 70, 40), (190, 170, 90)


def board() -> np.ndarray:
    """Two horizontal conductors on a dark ground, uint8 [60, 80, 3]."""
    pixels = np.full((60, 80, 3), DARK, np.uint8)
    pixels[10:22] = pixels[38:50] = BRIGHT
    return pixels


def changed(box, colour) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean = board()
    made, (x1, y1, x2, y2) = clean.copy(), box
    made[y1:y2, x1:x2] = colour
    return clean, made, (made != clean).any(axis=2)


@pytest.mark.parametrize(("name", "box", "colour", "number"), [
    ("open", (30, 8, 36, 24), DARK, 2),
    ("notch", (30, 8, 36, 17), DARK, 1),
    ("pin-hole", (30, 13, 36, 19), DARK, 0),
    ("short", (30, 20, 34, 40), BRIGHT, 2),
    ("spur", (30, 20, 34, 31), BRIGHT, 1),
    ("island", (30, 26, 36, 34), BRIGHT, 0),
])
def test_contacts_of_the_board_defects(name, box, colour, number):
    clean, made, mask = changed(box, colour)
    assert contacts(clean, made, mask) == number
    assert contacts(clean.astype(np.uint16) * 257, made.astype(np.uint16) * 257, mask) == number
    assert contacts(np.rot90(clean), np.rot90(made), np.rot90(mask)) == number


def test_the_rule_is_learned_from_real_boards(shared_data):
    bank = DefectBank.build(formats.read(shared_data / "deeppcb"))
    rules = usual_contacts(bank.crops)
    assert {label: rule[:2] for label, rule in rules.items()} == {
        "open": (2, 2), "short": (2, 2), "mousebite": (1, 1), "spur": (1, 1), "copper": (0, 0), "pin-hole": (0, 0)}
    assert min(rules[label].least_share for label in ("open", "short", "mousebite", "spur")) > 0.1
    assert rules["copper"].least_share == rules["pin-hole"].least_share == 0
    gate = Gate(bank, GateSettings(contacts=True), near_copy_off=True)
    clean, made, mask = changed((30, 20, 34, 31), BRIGHT)
    assert gate.judge(clean, made, mask, "spur", (30, 22, 34, 31)).kept
    assert gate.judge(clean, made, mask, "short", (30, 22, 34, 31)).reason == "joined wrongly"
    assert gate.judge(clean, made, mask, "short", (30, 22, 34, 31), place_given=True).kept


def test_what_only_comes_near_a_trace_does_not_join_it():
    grown, near = (changed((30, top, 34, 31), BRIGHT) for top in (20, 24))
    assert share_of_rim(*grown) > 0.25 > share_of_rim(*near)
    assert contacts(*near, 3) == 1
    assert joins(*grown, Joint(1, 1, 0.25))
    assert not joins(*near, Joint(1, 1, 0.25))
    assert joins(*near, Joint(1, 1))            # the number alone does not tell


def test_a_spur_that_nearly_bridges_agrees_at_one_reach_alone():
    spur, bridge = changed((30, 22, 40, 30), BRIGHT), changed((30, 22, 40, 37), BRIGHT)      # 1 px is left of 16
    assert all(joins(*spur, Joint(1, 1), agreeing=number) for number in (1, 2, 3))
    assert joins(*bridge, Joint(1, 1))
    assert not joins(*bridge, Joint(1, 1), agreeing=2)


@pytest.mark.parametrize(("counts", "rule"), [
    ({2: 5}, (2, 2)), ({2: 4}, None), ({2: 4, 3: 1}, (2, 3)), ({2: 17, 0: 3}, (2, 2)), ({2: 16, 0: 4}, None),
    ({3: 9}, None), ({0: 12, 1: 6, 2: 2}, None), ({1: 3, 3: 3}, None)])
def test_a_rule_is_one_number_or_two_in_a_row(counts, rule):
    assert _rule(Counter(counts)) == rule


def test_a_handful_of_specks_is_scattered():
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = True
    assert scatter(mask) == 0
    mask[::6, 20::6] = True
    assert 0 < scatter(mask) < 0.3
    mask[5:15, 5:15] = False
    assert scatter(mask) > 0.9
