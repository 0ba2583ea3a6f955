"use strict";
// The token is in the fragment, which no browser sends; it is taken out of the address bar before it is used.
(async () => {
  const told = document.getElementById("told");
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  history.replaceState(null, "", location.pathname);
  const ask = (path, options) => fetch(path, { credentials: "same-origin", ...options });
  try {
    if (token) {
      const answer = await ask("/v1/auth/login-link", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      });
      if (!answer.ok) {
        told.textContent = (await answer.json()).detail;
        return;
      }
    }
    const me = await ask("/v1/auth/me");
    told.textContent = me.ok
      ? `You are signed in as ${(await me.json()).user.email}.`
      : "Nobody is signed in here: open the link that `make dev` printed.";
  } catch {
    told.textContent = "The API does not answer; try again in a moment.";
  }
})();
