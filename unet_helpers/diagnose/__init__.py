"""What ails this program: the cheap checks of notebook 13 in one call.

    diagnose(loader, model, loss)                        # masks, pairs, loss, gradient
    diagnose(loader, model, loss, val_loader=…, …)       # and whatever else is given

`unet_helpers.health` examines the machine; this package examines a loader, a model and a loss.
"""

from unet_helpers.diagnose.examine import diagnose
from unet_helpers.diagnose.findings import Finding
from unet_helpers.diagnose.network import FirstNonFinite, first_nonfinite, saved_bytes

__all__ = ["Finding", "FirstNonFinite", "diagnose", "first_nonfinite", "saved_bytes"]
