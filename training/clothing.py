"""The best model of Fashion-MNIST (row A12): two networks that each see a picture and its mirror image, whose
probabilities are calibrated, and that say when a picture is no garment.

percept train clothing-net
"""

from collections.abc import Mapping

from training.augment import ShiftAndErase
from training.calibration import margin_temperature
from training.committee import Committee, Mirrored
from training.data import FASHION_MNIST, MNIST
from training.doubting import WARNED_SHARE, DoubtingSystem
from training.pooled import pooled_network
from training.recipe import GARMENT_INPUT, Closing, Recipe

RECIPE = Recipe(
    name="clothing-net",
    title="Clothing, two convolutional networks",
    description="Two networks of their own, each conv 3×3×24 → three times conv 3×3, max-pool 2, conv 3×3 (48, 128 and "
    "256 channels) → max → dense 10, and the mean of their logits for a picture and its mirror image.",
    source=FASHION_MNIST,
    subject="clothing",
    input=GARMENT_INPUT,
    body=lambda: Mirrored(Committee([pooled_network(24, (48, 128, 256), classes=10, dropout=0.2) for _ in range(2)])),
    parameters=2_246_308,
    floor=0.95,
    epochs=28,
    batch_size=256,
    learning_rate=3e-3,
    weight_decay=3e-2,
    augmentation=ShiftAndErase(shift=2, erased=0.5),
    closing=Closing(epochs=5, augmentation=ShiftAndErase(shift=1, erased=0.2)),
    label_smoothing=0.05,
    averaging=0.998,
    precision="bfloat16",
    weights="float16",
)
FLOORS: Mapping[str, float] = {"test_calibration": 0.985}
SYSTEMS = (
    DoubtingSystem(
        RECIPE,
        other=MNIST,
        floors=FLOORS,
        calibrate=margin_temperature,
        notes=(
            "Pictures that warn of being unlike the training data are mostly no garments in Fashion-MNIST's manner; "
            f"{WARNED_SHARE:.0%} of its own are warned of, too.",
            "The temperature of the probabilities falls with the difference of the two largest logits.",
        ),
    ),
)
