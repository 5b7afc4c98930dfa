"""Evaluation: how good predictions are, how sure that is, and whether one set of them beats another.

``metrics`` scores predictions and gives every figure its 95 % interval; ``comparison`` tests two evaluations of the
same photos against each other. Both see labels and probabilities only: that no photo took part in choosing or training
what predicted it is the caller's duty.
"""
