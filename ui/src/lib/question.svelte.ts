/** A question that takes the nodes a while: the last answer, why there is none since, and whether it is being asked. */
export class Question<T> {
  found = $state.raw<T | null>(null);
  why = $state("");
  asking = $state(false);
  readonly #answer: () => Promise<T>;

  constructor(answer: () => Promise<T>) {
    this.#answer = answer;
  }

  ask = async (): Promise<void> => {
    this.asking = true;
    try {
      [this.found, this.why] = [await this.#answer(), ""];
    } catch (error) {
      this.why = error instanceof Error ? error.message : String(error);
    } finally {
      this.asking = false;
    }
  };
}
