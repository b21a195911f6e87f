() => {
  // Gradio calls them "Thumbnail 1 of 4", also where they have names.
  document.querySelectorAll(".jx-shelf button").forEach(
    button => button.ariaLabel = button.title = button.querySelector("img")?.alt ?? ""
  );
  // Gradio says nothing where its server has gone.
  const gone = document.getElementById("gone");
  setInterval(async () => {
    try {
      await fetch(location.href, {method: "HEAD", cache: "no-store"});
      if (!gone.hidden) location.reload();
    } catch {
      gone.hidden = false;
    }
  }, 4000);
}
