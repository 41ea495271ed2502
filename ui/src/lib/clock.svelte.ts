/** The time, for what is shown as an age: it moves once a second while the page can be seen. */
class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1000);
    addEventListener("visibilitychange", () => (this.now = Date.now()));
  }
}

export const clock = new Clock();
