/** What the parts of something drawn say now, so that only what says something else is drawn anew. */
export class Said {
  /** @type {Map<string, string>} */
  #words = new Map();

  /**
   * @param {string} part
   * @param {string} words
   * @param {(words: string) => void} say called when the part does not say so yet
   */
  tell(part, words, say) {
    if (this.#words.get(part) === words) return;
    this.#words.set(part, words);
    say(words);
  }
}
