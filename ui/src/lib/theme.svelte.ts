/** Light or dark: as the system has it, or as was chosen; a choice is remembered in a cookie with nothing else in it. */
export type Theme = "system" | "light" | "dark";
const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const COOKIE = "pathfleet-theme";

class Choice {
  theme = $state<Theme>(remembered());

  constructor() {
    this.#apply();
  }

  next(): void {
    this.theme = NEXT[this.theme];
    document.cookie = `${COOKIE}=${this.theme}; path=/; max-age=31536000; samesite=strict`;
    this.#apply();
  }

  #apply(): void {
    if (this.theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = this.theme;
  }
}

function remembered(): Theme {
  const found = new RegExp(`(?:^|; )${COOKIE}=(light|dark)(?:;|$)`).exec(document.cookie)?.[1];
  return (found as Theme | undefined) ?? "system";
}

export const choice = new Choice();
