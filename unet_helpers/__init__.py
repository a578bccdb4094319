"""The code the notebooks of U-Net from Scratch share, one module per step of the road."""

import os

# albumentations looks for a newer version of itself on import; the course never phones home.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
