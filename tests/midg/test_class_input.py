"""The comparison of one model of several classes with one a class trains, and judges every unseen defect."""
import torch

from midg import class_input

torch.set_num_threads(1)


def test_both_are_judged_on_the_same_defects(tmp_path):
    one, each = class_input.rows(tmp_path, steps=3, learnt=6, unseen=4, width=2)
    assert "class as an input" in one[0]
    assert "a class" in each[0]
    counts = [[part.split("(")[1] for part in row[2].split(", ")] for row in (one, each)]
    assert counts[0] == counts[1]
    assert len(counts[0]) == len(class_input.CLASSES)
    assert all(5 < float(row[1].split()[0]) < 40 for row in (one, each))
