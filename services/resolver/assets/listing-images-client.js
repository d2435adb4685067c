/** Asks the resolver which photos to show. No dependency, no DOM: it runs in browsers, workers and servers alike. */

/** @typedef {"pending" | "failed" | "downloaded" | "outdated"} Status */

/**
 * One rendering of a photo; sides in pixels, size in bytes.
 * @typedef {object} Variant
 * @property {string} name
 * @property {string} url
 * @property {number} width
 * @property {number} height
 * @property {number} file_size
 */

/**
 * One photo. While there is no copy, `url` answers with the photo as soon as it is here, `srcset` is empty, `variants`
 * has no entry, and sizes are null.
 * @typedef {object} Image
 * @property {string} id
 * @property {number} order
 * @property {Status} status
 * @property {string} url absolute
 * @property {string} srcset
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} content_type
 * @property {number | null} file_size
 * @property {Variant[]} variants
 * @property {string} alt
 * @property {string | null} thumbhash base64
 * @property {string | null} downloaded_at
 * @property {string | null} media_changed_at
 */

/**
 * A listing's photos in order.
 * @typedef {object} ListingImages
 * @property {string} feed
 * @property {string} listing_key
 * @property {Image[]} images
 */

/**
 * The photos of one page of search results: by listing key; keys that are not displayed; keys of several feeds.
 * @typedef {object} SearchAnswer
 * @property {Map<string, ListingImages>} listings
 * @property {string[]} unknown
 * @property {string[]} ambiguous
 */

const PATIENCE_MS = 15_000;
const PASSING = [0, 408, 425, 429, 500, 502, 503, 504];

/** Why there is no answer. `status` is 0 where the resolver was not reached. */
export class ListingImagesError extends Error {
  /**
   * @param {string} message what is wrong, and what to do
   * @param {number} status
   * @param {number} retryAfter seconds to wait before asking again, 0 if not said
   */
  constructor(message, status, retryAfter = 0) {
    super(message);
    this.name = "ListingImagesError";
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same question may be answered later. */
  get isPassing() {
    return PASSING.includes(this.status);
  }
}

/** The resolver's questions as calls. */
export class ListingImagesClient {
  #api;

  /** @param {string | URL} api where the resolver answers, such as "https://images.example.com" */
  constructor(api) {
    this.#api = new URL(api);
  }

  /**
   * All photos of one listing.
   * @param {string} key the ListingKey
   * @param {{feed?: string | null, context?: "view" | "search", isFresh?: boolean, signal?: AbortSignal}} [options]
   *   `isFresh` asks past the browser's cache
   * @returns {Promise<ListingImages>}
   * @throws {ListingImagesError} 404: not displayed; 409: displayed in several feeds, name one
   */
  async listing(key, { feed, context = "view", isFresh = false, signal } = {}) {
    const query = new URLSearchParams({ context });
    if (feed) query.set("feed", feed);
    const path = `/api/listings/${encodeURIComponent(key)}/images?${query}`;
    return this.#absolute(await this.#ask(path, { cache: isFresh ? "no-cache" : "default" }, signal));
  }

  /**
   * The first photos of up to 200 listings: one call for one page of search results.
   * @param {string[]} keys ListingKeys
   * @param {{feed?: string | null, photos?: number, signal?: AbortSignal}} [options] `photos` of each listing, 1 if not said
   * @returns {Promise<SearchAnswer>}
   * @throws {ListingImagesError}
   */
  async search(keys, { feed = null, photos = 1, signal } = {}) {
    const body = JSON.stringify({ listing_keys: keys, feed, photos_per_listing: photos, context: "search" });
    const headers = { "Content-Type": "application/json" };
    const answer = await this.#ask("/api/images/resolve", { method: "POST", headers, body }, signal);
    /** @type {Map<string, ListingImages>} */
    const listings = new Map(Object.entries(answer.listings));
    for (const listing of listings.values()) this.#absolute(listing);
    return { ...answer, listings };
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   * @param {AbortSignal} [signal]
   */
  async #ask(path, options, signal) {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    try {
      const answer = await fetch(new URL(path, this.#api), {
        ...options,
        credentials: "omit",
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      });
      if (!answer.ok) throw await problem(answer);
      return await answer.json();
    } catch (fault) {
      if (signal?.aborted || fault instanceof ListingImagesError) throw fault;
      throw new ListingImagesError(`${this.#api.origin} gave no answer: ${fault}`, 0);
    }
  }

  /** @param {ListingImages} listing */
  #absolute(listing) {
    for (const image of listing.images) image.url = new URL(image.url, this.#api).href;
    return listing;
  }
}

/** @param {Response} answer an error, by RFC 9457 if the resolver itself wrote it */
async function problem(answer) {
  const said = await answer.json().catch(() => null);
  const seconds = Number(answer.headers.get("Retry-After"));
  return new ListingImagesError(said?.detail || `HTTP ${answer.status}`, answer.status, seconds || 0);
}
