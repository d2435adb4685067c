/** Thrown if the resolver does not answer a call. `status` is the HTTP status, 0 if the resolver was not reached. */
export class ListingImagesError extends Error {
    /**
     * @param {string} message what is wrong, and what to do
     * @param {number} status
     * @param {number} retryAfter seconds to wait before the next attempt, 0 if the answer does not say
     */
    constructor(message: string, status: number, retryAfter?: number);
    status: number;
    retryAfter: number;
    /** True if the same call may succeed later. */
    get isPassing(): boolean;
}
/** The resolver's calls for frontends. Each ends after 15 s at the latest. */
export class ListingImagesClient {
    /** @param {string | URL} api where the resolver answers, such as "https://images.example.com" */
    constructor(api: string | URL);
    /**
     * Return all photos of one listing, in order.
     * @param {string} key the ListingKey
     * @param {{feed?: string | null, context?: "view" | "search", isFresh?: boolean, signal?: AbortSignal}} [options]
     *   `isFresh` makes the browser ask the resolver even if it has the answer cached
     * @returns {Promise<ListingImages>}
     * @throws {ListingImagesError} 404 if no displayed listing has the key; 409 if several feeds display it and none is named
     */
    listing(key: string, { feed, context, isFresh, signal }?: {
        feed?: string | null;
        context?: "view" | "search";
        isFresh?: boolean;
        signal?: AbortSignal;
    }): Promise<ListingImages>;
    /**
     * Return the first photos of up to 200 listings: one call for one page of search results.
     * @param {string[]} keys ListingKeys
     * @param {{feed?: string | null, photos?: number, signal?: AbortSignal}} [options] `photos` of each listing, 1 if not given
     * @returns {Promise<SearchAnswer>}
     * @throws {ListingImagesError}
     */
    search(keys: string[], { feed, photos, signal }?: {
        feed?: string | null;
        photos?: number;
        signal?: AbortSignal;
    }): Promise<SearchAnswer>;
    #private;
}
export type Status = "pending" | "failed" | "downloaded" | "outdated";
export type Category = "photo" | "floor-plan";
/**
 * One rendering of a photo; sides in pixels, size in bytes.
 */
export type Variant = {
    name: string;
    url: string;
    content_type: string;
    width: number;
    height: number;
    file_size: number;
};
/**
 * One photo. Without a copy, `url` is the resolver's address that waits for the download and then leads to the copy;
 * `srcset` and `variants` are empty, and sizes are null.
 */
export type Image = {
    id: string;
    order: number;
    status: Status;
    category: Category;
    /**
     * absolute
     */
    url: string;
    srcset: string;
    width: number | null;
    height: number | null;
    content_type: string | null;
    file_size: number | null;
    variants: Variant[];
    alt: string;
    /**
     * base64
     */
    thumbhash: string | null;
    downloaded_at: string | null;
    media_changed_at: string | null;
};
/**
 * A listing's photos in order.
 */
export type ListingImages = {
    feed: string;
    listing_key: string;
    /**
     * how many photos the listing has, also if fewer were asked for
     */
    photo_count: number;
    images: Image[];
};
/**
 * The photos of one page of search results by ListingKey, the keys that no displayed listing has, and the keys that are
 * displayed in several feeds.
 */
export type SearchAnswer = {
    listings: Map<string, ListingImages>;
    unknown: string[];
    ambiguous: string[];
};
