"""Many pictures at once: axes of settings, batches on devices, a folder of results."""
