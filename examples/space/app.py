"""jaxnst as a Hugging Face Space: the page of `jaxnst app`, for everybody."""

from jaxnst.app import launch


if __name__ == "__main__":
    # A Space's own proxy is before it, and asks for no password. What is painted stays
    # in the Space until it is restarted; each browser sees its own results.
    launch(host="0.0.0.0", port=7860, is_public=True, output="/tmp/paintings")
