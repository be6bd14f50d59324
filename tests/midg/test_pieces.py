"""Pieces of a painted defect: small ones go, and one that is nowhere in one piece is told."""
import numpy as np

from midg.pieces import in_one_piece


def squares(*sides: int) -> np.ndarray:
    alpha = np.zeros((40, 40 * len(sides)), np.float32)
    for number, side in enumerate(sides):
        alpha[5:5 + side, 40 * number:40 * number + side] = 0.7
    return alpha


def test_small_pieces_go():
    alpha, whole = in_one_piece(squares(20, 5, 4))
    assert whole
    assert (alpha == np.where(np.arange(120) < 20, squares(20, 5, 4), 0)).all()
    alpha = squares(20)
    assert in_one_piece(alpha)[0] is alpha


def test_what_is_in_many_pieces_is_told():
    alpha, whole = in_one_piece(squares(10, 9, 10))
    assert not whole
    assert (alpha == squares(10, 9, 10)).all()
    assert in_one_piece(np.zeros((8, 8), np.float32))[1]
