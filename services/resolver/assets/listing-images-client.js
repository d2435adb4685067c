/** A client of the resolver. It has no dependency and needs no DOM: it runs in browsers, workers and servers. */

/** @typedef {"pending" | "failed" | "downloaded" | "outdated"} Status */

/** @typedef {"photo" | "floor-plan"} Category */

/**
 * One rendering of a photo; sides in pixels, size in bytes.
 * @typedef {object} Variant
 * @property {string} name
 * @property {string} url
 * @property {string} content_type
 * @property {number} width
 * @property {number} height
 * @property {number} file_size
 */

/**
 * One photo. Without a copy, `url` is the resolver's address that waits for the download and then leads to the copy;
 * `srcset` and `variants` are empty, and sizes are null.
 * @typedef {object} Image
 * @property {string} id
 * @property {number} order
 * @property {Status} status
 * @property {Category} category
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
 * @property {number} photo_count how many photos the listing has, also if fewer were asked for
 * @property {Image[]} images
 */

/**
 * The photos of one page of search results by ListingKey, the keys that no displayed listing has, and the keys that are
 * displayed in several feeds.
 * @typedef {object} SearchAnswer
 * @property {Map<string, ListingImages>} listings
 * @property {string[]} unknown
 * @property {string[]} ambiguous
 */

const TIMEOUT_MS = 15_000;
/** Statuses after which the same request may succeed later; 0 if the resolver was not reached. */
const TRANSIENT = [0, 408, 425, 429, 500, 502, 503, 504];

/** Thrown if the resolver does not answer a call. `status` is the HTTP status, 0 if the resolver was not reached. */
export class ListingImagesError extends Error {
  /**
   * @param {string} message what is wrong, and what to do
   * @param {number} status
   * @param {number} retryAfter seconds to wait before the next attempt, 0 if the answer does not say
   */
  constructor(message, status, retryAfter = 0) {
    super(message);
    this.name = "ListingImagesError";
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** True if the same call may succeed later. */
  get isPassing() {
    return TRANSIENT.includes(this.status);
  }
}

/** The resolver's calls for frontends. Each ends after 15 s at the latest. */
export class ListingImagesClient {
  #api;

  /** @param {string | URL} api where the resolver answers, such as "https://images.example.com" */
  constructor(api) {
    this.#api = new URL(api);
  }

  /**
   * Return all photos of one listing, in order.
   * @param {string} key the ListingKey
   * @param {{feed?: string | null, context?: "view" | "search", isFresh?: boolean, signal?: AbortSignal}} [options]
   *   `isFresh` makes the browser ask the resolver even if it has the answer cached
   * @returns {Promise<ListingImages>}
   * @throws {ListingImagesError} 404 if no displayed listing has the key; 409 if several feeds display it and none is named
   */
  async listing(key, { feed, context = "view", isFresh = false, signal } = {}) {
    const query = new URLSearchParams({ context });
    if (feed) query.set("feed", feed);
    const path = `/api/listings/${encodeURIComponent(key)}/images?${query}`;
    return this.#absolute(await this.#fetch(path, { cache: isFresh ? "no-cache" : "default" }, signal));
  }

  /**
   * Return the first photos of up to 200 listings: one call for one page of search results.
   * @param {string[]} keys ListingKeys
   * @param {{feed?: string | null, photos?: number, signal?: AbortSignal}} [options] `photos` of each listing, 1 if not given
   * @returns {Promise<SearchAnswer>}
   * @throws {ListingImagesError}
   */
  async search(keys, { feed = null, photos = 1, signal } = {}) {
    const body = JSON.stringify({ listing_keys: keys, feed, photos_per_listing: photos, context: "search" });
    const headers = { "Content-Type": "application/json" };
    const answer = await this.#fetch("/api/images/resolve", { method: "POST", headers, body }, signal);
    /** @type {Map<string, ListingImages>} */
    const listings = new Map(Object.entries(answer.listings));
    for (const listing of listings.values()) this.#absolute(listing);
    return { ...answer, listings };
  }

  /**
   * Return the JSON of an answer. Throws a ListingImagesError, or the reason of the caller's own abort.
   * @param {string} path
   * @param {RequestInit} options
   * @param {AbortSignal} [signal]
   */
  async #fetch(path, options, signal) {
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const answer = await fetch(new URL(path, this.#api), {
        ...options,
        credentials: "omit",
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      });
      if (!answer.ok) throw await problem(answer);
      return await answer.json();
    } catch (error) {
      if (signal?.aborted || error instanceof ListingImagesError) throw error;
      throw new ListingImagesError(`${this.#api.origin} gave no answer: ${error}`, 0);
    }
  }

  /** Make the URLs of a listing's photos absolute; return the listing. @param {ListingImages} listing */
  #absolute(listing) {
    for (const image of listing.images) image.url = new URL(image.url, this.#api).href;
    return listing;
  }
}

/** Return the error of an answer, with the detail of its problem (RFC 9457) if it has one. @param {Response} answer */
async function problem(answer) {
  const body = await answer.json().catch(() => null);
  const seconds = Number(answer.headers.get("Retry-After"));
  return new ListingImagesError(body?.detail || `HTTP ${answer.status}`, answer.status, seconds || 0);
}
