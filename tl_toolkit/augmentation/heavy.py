"""Heavy augmentation for small sets of product photos, where one must stand for many never taken.

Five stages, in the order in which the world and then a camera would add them:

1. geometry: crop (at most 11% a side), horizontal flip, and one of affine warp (turn of 15 degrees, shear,
   unequal zoom, shift), perspective and grid warp;
2. colour: brightness and contrast, hue and saturation or channel shifts, gamma or tone curves, colour
   temperature, and now and then grey;
3. light: one of local contrast (CLAHE), sharpening, a cast shadow and uneven lighting;
4. camera: at most two of blur (Gaussian, motion, defocus), noise (Gaussian, sensor, signal-dependent) and
   loss (JPEG, low resolution);
5. occlusion: up to four small grey patches, or one of a plain colour, over at most 12% of the picture.

What keeps labels true: no vertical flip and no turn beyond 15 degrees, for products stand upright; at least
60% of the photo stays in view (the least of 4,000 views; 82% in the middle one); colours shift but are
never inverted or shuffled; not all faults of a camera at once. Borders that a warp uncovers are filled with
the mirrored photo: black wedges would teach a network to tell views from photos. Blur and noise are in
pixels and tuned at 200 to 320 px; for pictures of 32 px take "light".

26 distinct operations; 2.6 ms/image at 300 px and strength 1 on 2 cores, 1.8 where two threads share the
work.
"""

from __future__ import annotations

import albumentations as A
import cv2

VERSION = 1

Transforms = list[A.BasicTransform | A.BaseCompose]


def build(strength: float) -> A.Compose:
    """The policy at one strength: uint8 RGB (height, width, 3) in and out, at least 78% as high and as wide.

    Args:
        strength: 0 (nothing happens) to 1 (the amounts above). Amounts grow linearly; up to 0.5, operations
            also become more frequent.
    """
    often = min(1.0, 2 * strength)
    stages = (geometry, colour, light, camera, occlusion)
    return A.Compose([step for stage in stages for step in stage(strength, often)], strict=True)


def geometry(strength: float, often: float) -> Transforms:
    """Where the camera stands, and what it frames."""
    trim = 0.11 * strength
    warps = [
        A.Affine(
            scale=(1 - 0.2 * strength, 1 + 0.05 * strength),
            translate_percent=(-0.05 * strength, 0.05 * strength),
            rotate=(-15 * strength, 15 * strength),
            shear=(-8 * strength, 8 * strength),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.6,
        ),
        # fit_output keeps the corners of the photo in view; without it a steep view is also a tight crop.
        A.Perspective(
            scale=(0.02 * strength, 0.08 * strength),
            fit_output=True,
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.25,
        ),
        A.GridDistortion(num_steps=4, distort_limit=0.2 * strength, border_mode=cv2.BORDER_REFLECT_101, p=0.15),
    ]
    return [
        # Each side is cut on its own, so proportions vary as in a random resized crop, without resampling.
        A.RandomCropFromBorders(trim, trim, trim, trim, p=1.0),
        A.HorizontalFlip(p=0.5 * often),
        A.OneOf(warps, p=0.9 * often),
    ]


def colour(strength: float, often: float) -> Transforms:
    """Exposure, white balance and the taste of whoever edited the photo."""
    tints = [
        A.HueSaturationValue(10 * strength, 30 * strength, 10 * strength, p=0.6),
        A.RGBShift(20 * strength, 20 * strength, 20 * strength, p=0.4),
    ]
    curves = [
        A.RandomGamma((100 - 30 * strength, 100 + 40 * strength), p=0.5),
        A.RandomToneCurve(scale=0.12 * strength, per_channel=True, p=0.5),
    ]
    # Less up than down, contrast too (it multiplies): many product photos are near white, and clipping erases
    # products. Gamma brightens without clipping.
    brightness = (-0.2 * strength, 0.1 * strength)
    contrast = (-0.25 * strength, 0.15 * strength)
    kelvin = (round(6000 - 1800 * strength), round(6000 + 4000 * strength))  # 6000 K changes nothing
    return [
        A.RandomBrightnessContrast(brightness, contrast, p=0.6 * often),
        A.OneOf(tints, p=0.5 * often),
        A.OneOf(curves, p=0.35 * often),
        A.PlanckianJitter(temperature_limit=kelvin, p=0.3 * often),
        A.ToGray(p=0.05 * often),
    ]


def light(strength: float, often: float) -> Transforms:
    """Light that falls unevenly, and phones that make up for it."""
    effects = [
        A.CLAHE(clip_limit=(1.0, 1 + 2 * strength), p=0.25),
        A.Sharpen(alpha=(0.1 * strength, 0.5 * strength), p=0.25),
        A.RandomShadow(
            shadow_roi=(0, 0, 1, 1),
            num_shadows_limit=(1, 1),
            shadow_dimension=3,  # polygons of more corners cross themselves and look like stars
            shadow_intensity_range=(0.1 * strength, 0.4 * strength),
            p=0.25,
        ),
        A.Illumination(mode="gaussian", intensity_range=(0.01, 0.01 + 0.14 * strength), p=0.25),
    ]
    return [A.OneOf(effects, p=0.25 * often)]


def camera(strength: float, often: float) -> Transforms:
    """Lens, sensor and file format; two faults at most, for three together can hide what a product is."""
    largest = 3 + 2 * round(2 * strength)
    blurs = [
        A.GaussianBlur(blur_limit=0, sigma_limit=(0.2, 0.2 + 1.4 * strength), p=0.4),
        A.MotionBlur(blur_limit=(3, largest), p=0.3),
        # beta > 1 makes the kernel a flat disc: defocus, at a tenth of the cost of A.Defocus (11 ms).
        A.AdvancedBlur(
            blur_limit=(3, largest),
            sigma_x_limit=(0.5, 0.5 + 2 * strength),
            sigma_y_limit=(0.5, 0.5 + 2 * strength),
            beta_limit=(0.9, 8.0),
            noise_limit=(1.0, 1.0),
            p=0.3,
        ),
    ]
    noises = [
        A.GaussNoise(std_range=(0.01 * strength, 0.07 * strength), p=0.5),
        A.ISONoise(
            color_shift=(0.01 * strength, 0.04 * strength),
            intensity=(0.1 * strength, 0.4 * strength),
            p=0.15,  # rare, for it costs 6 ms
        ),
        # Noise that grows with the signal: stands for A.ShotNoise, which costs 19 ms.
        A.MultiplicativeNoise((1 - 0.2 * strength, 1 + 0.2 * strength), elementwise=True, per_channel=True, p=0.35),
    ]
    losses = [
        A.ImageCompression(quality_range=(round(95 - 65 * strength), 95), p=0.6),
        A.Downscale(
            scale_range=(1 - 0.6 * strength, 1 - 0.1 * strength),
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR},
            p=0.4,
        ),
    ]
    return [A.SomeOf([A.OneOf(blurs, p=0.5), A.OneOf(noises, p=0.5), A.OneOf(losses, p=0.5)], n=2, p=often)]


def occlusion(strength: float, often: float) -> Transforms:
    """Something in front of the product: it must be known by more than one of its parts."""
    side = (0.05, 0.05 + 0.12 * strength)
    imagenet_mean = (124, 116, 104)  # next to zero once a backbone has normalised it: a hole, not an object
    patches = [
        A.CoarseDropout((1, 4), hole_height_range=side, hole_width_range=side, fill=imagenet_mean, p=0.5),
        A.Erasing(scale=(0.01, 0.01 + 0.11 * strength), fill="random_uniform", p=0.5),
    ]
    return [A.OneOf(patches, p=0.35 * often)]
