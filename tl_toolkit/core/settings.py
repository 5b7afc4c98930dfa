"""Every hyperparameter of a training, validated where it is made, and what ``class_weight`` means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "one_cycle", "plateau")
FROZEN, FINE_TUNED = "frozen", "fine_tuned"
"""The two values of ``network`` that train on a backbone; any other is a network from scratch."""
NO_BACKBONE = "none"
CLASS_WEIGHTS = ("none", "balanced")


def require(holds: bool, rule: str, **values: object) -> None:
    """Raise ``ValueError`` where a rule does not hold; it states the rule and the values."""
    if not holds:
        raise ValueError(f"{rule} must hold, got {', '.join(f'{k}={v!r}' for k, v in values.items())}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Every hyperparameter of a trial, and nothing else.

    Attributes:
        network: What is trained: :data:`FROZEN`, a softmax head on features that a backbone gives; :data:`FINE_TUNED`,
            the backbone with its head; else the name of a network from scratch.
        backbone: Name of a backbone, or several joined by ``+``: their features are concatenated. ``none`` for a
            network from scratch.
        augmentation: Name of an augmentation policy.
        strength: Strength of the policy, 0..1; without effect for the policy ``none``.
        views: Views of each photo that training draws from, the clean one among them; 1 for the policy ``none``.
        optimizer: ``sgd``, ``adam`` or ``adamw``, each as Keras defines it.
        learning_rate: At the first step.
        momentum: Of SGD; 0 for the others.
        nesterov: Nesterov momentum, for SGD only.
        weight_decay: Decoupled, as in Keras: a step shrinks weights by learning_rate * weight_decay; 0 for ``adam``.
        schedule: ``constant``; ``cosine`` down to zero at the last step; or, of networks only, ``one_cycle``: up in a
            straight line during the first fifth of the steps, and down to zero in another; or ``plateau``: divided by
            five where the training loss has not fallen for five epochs, as Keras' ``ReduceLROnPlateau``.
        bias_rate: Of networks with SGD only: learning rate of biases, in multiples of that of kernels; the offsets of
            batch normalisation are biases.
        lookahead: Of networks only: every five steps, weights go back to their running average by a share that grows
            with training (Lookahead, Zhang et al. 2019, arXiv:1907.08610, with the schedule of Jordan 2024,
            arXiv:2404.00498).
        label_smoothing: Share of the target spread evenly over all classes, 0..1.
        dropout: Share of pooled features set to zero at each step, 0..1. In a network from scratch the rate of its
            largest dropout; its others keep their proportion to it.
        activity_l2: Of networks only: L2 penalty on the activity of their dense layers (of the pooled features, where
            a backbone is fine-tuned).
        bn_momentum: Of networks from scratch only: momentum of the moving averages by which batch normalisation
            predicts. After m steps, bn_momentum ** m of their initial values is still in them: 0.99, Keras' default,
            wants some 400 steps.
        frozen_layers: Of fine-tuned backbones only: share of the layers with weights, from the input on, that keep
            their pretrained ones.
        test_time_views: Of networks only: how many views of a photo have a say in what is said of it, in the exported
            model as well. 1: the photo itself; 2: and its mirror image; 6: both, and with half their weight both
            shifted by a pixel up and to the left, and down and to the right.
        class_weight: ``none``, or ``balanced``: the loss of class c is weighted by n / (k * n_c).
        epochs: Passes over the photos; each pass sees one view of each.
        patience: Of networks only: stop where the training loss has not fallen for so many epochs, and keep the weights
            of the epoch at which it was lowest; 0 to train all epochs and keep the last.
        batch_size: Photos of a batch; of heads, before those outside the training rows are left out.
    """

    network: str = FROZEN
    backbone: str = "efficientnet_lite0"
    augmentation: str = "none"
    strength: float = 0.0
    views: int = 1
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    activity_l2: float = 0.0
    bn_momentum: float = 0.99
    bias_rate: float = 1.0
    lookahead: bool = False
    frozen_layers: float = 0.0
    test_time_views: int = 1
    class_weight: str = "none"
    epochs: int = 30
    patience: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        require(self.optimizer in OPTIMIZERS, f"optimizer in {OPTIMIZERS}", optimizer=self.optimizer)
        require(self.schedule in SCHEDULES, f"schedule in {SCHEDULES}", schedule=self.schedule)
        require(
            self.class_weight in CLASS_WEIGHTS,
            f"class_weight in {CLASS_WEIGHTS}",
            class_weight=self.class_weight,
        )
        require(self.learning_rate > 0, "learning_rate > 0", learning_rate=self.learning_rate)
        require(0 <= self.momentum < 1, "0 <= momentum < 1", momentum=self.momentum)
        require(self.weight_decay >= 0, "weight_decay >= 0", weight_decay=self.weight_decay)
        require(0 <= self.strength <= 1, "0 <= strength <= 1", strength=self.strength)
        require(0 <= self.label_smoothing < 1, "0 <= label_smoothing < 1", label_smoothing=self.label_smoothing)
        require(0 <= self.dropout < 1, "0 <= dropout < 1", dropout=self.dropout)
        require(self.views >= 1, "views >= 1", views=self.views)
        require(self.activity_l2 >= 0, "activity_l2 >= 0", activity_l2=self.activity_l2)
        require(0 <= self.bn_momentum < 1, "0 <= bn_momentum < 1", bn_momentum=self.bn_momentum)
        require(self.bias_rate > 0, "bias_rate > 0", bias_rate=self.bias_rate)
        require(0 <= self.frozen_layers <= 1, "0 <= frozen_layers <= 1", frozen_layers=self.frozen_layers)
        require(self.test_time_views in (1, 2, 6), "test_time_views in (1, 2, 6)", test_time_views=self.test_time_views)
        require(self.patience >= 0, "patience >= 0", patience=self.patience)
        require(self.epochs >= 1, "epochs >= 1", epochs=self.epochs)
        require(self.batch_size >= 1, "batch_size >= 1", batch_size=self.batch_size)
        if self.network == FROZEN:
            require(
                self.schedule in ("constant", "cosine") and self.activity_l2 == 0 and self.patience == 0,
                "schedules one_cycle and plateau, activity_l2 and patience belong to networks",
                schedule=self.schedule,
                activity_l2=self.activity_l2,
                patience=self.patience,
            )
            require(
                self.bias_rate == 1 and not self.lookahead and self.test_time_views == 1,
                "bias_rate, lookahead and test_time_views belong to networks",
                bias_rate=self.bias_rate,
                lookahead=self.lookahead,
                test_time_views=self.test_time_views,
            )
        if self.network != FINE_TUNED:
            require(
                self.frozen_layers == 0,
                "frozen_layers belongs to fine-tuned backbones",
                frozen_layers=self.frozen_layers,
            )
        if self.network in (FROZEN, FINE_TUNED):
            require(
                self.bn_momentum == 0.99,
                "bn_momentum belongs to networks from scratch (backbones have their own)",
                bn_momentum=self.bn_momentum,
            )
        require(
            (self.backbone == NO_BACKBONE) == (self.network not in (FROZEN, FINE_TUNED)),
            f"backbone={NO_BACKBONE} for networks from scratch, and for them only,",
            network=self.network,
            backbone=self.backbone,
        )
        if self.optimizer != "sgd":
            require(
                self.momentum == 0 and not self.nesterov,
                "momentum and nesterov belong to sgd",
                optimizer=self.optimizer,
                momentum=self.momentum,
                nesterov=self.nesterov,
            )
            require(self.bias_rate == 1, "bias_rate belongs to sgd", optimizer=self.optimizer, bias_rate=self.bias_rate)
        if self.optimizer == "adam":
            require(self.weight_decay == 0, "adam has no weight_decay (adamw has)", weight_decay=self.weight_decay)
        if self.augmentation == "none":
            require(
                self.views == 1 and self.strength == 0,
                "augmentation none has views=1 and strength=0",
                views=self.views,
                strength=self.strength,
            )


def class_weights(labels: np.ndarray, n_classes: int, how: str) -> np.ndarray:
    """Loss weight of each class, float32, shape (k,): ones, or n / (k * n_c); 0 for a class without rows."""
    if how == "none":
        return np.ones(n_classes, np.float32)
    counts = np.bincount(labels, minlength=n_classes)
    weights = len(labels) / (n_classes * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0).astype(np.float32)
