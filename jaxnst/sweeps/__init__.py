"""Many pictures at once: axes of settings, lanes of devices, a folder of results."""
