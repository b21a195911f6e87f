"""The page in the browser: `jaxnst app`, a Space, or Colab."""

import os

from .serving import launch as launch


# Read when Gradio is imported: it tells nobody of its users, and asks nobody for its
# newest version. It has no other reason to ask other machines.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
