// Theme and language as they were last chosen, set before anything is painted; no module, since those come later.
// Knows no words and no panels.
{
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem("percept") ?? "{}");
  } catch {
    // Storage may be forbidden: then the browser's own preferences hold.
  }
  const root = document.documentElement;
  if (["light", "dark"].includes(stored.theme)) root.dataset.theme = stored.theme;
  const wanted = stored.language ?? navigator.languages.find((each) => /^(en|ko)\b/.test(each)) ?? "en";
  root.lang = wanted.startsWith("ko") ? "ko" : "en";
}
