/** Why there is no answer. `status` is 0 where the resolver was not reached. */
export class ListingImagesError extends Error {
    /**
     * @param {string} message what is wrong, and what to do
     * @param {number} status
     * @param {number} retryAfter seconds to wait before asking again, 0 if not said
     */
    constructor(message: string, status: number, retryAfter?: number);
    status: number;
    retryAfter: number;
    /** Whether the same question may be answered later. */
    get isPassing(): boolean;
}
/** The resolver's questions as calls. */
export class ListingImagesClient {
    /** @param {string | URL} api where the resolver answers, such as "https://images.example.com" */
    constructor(api: string | URL);
    /**
     * All photos of one listing.
     * @param {string} key the ListingKey
     * @param {{feed?: string | null, context?: "view" | "search", isFresh?: boolean, signal?: AbortSignal}} [options]
     *   `isFresh` asks past the browser's cache
     * @returns {Promise<ListingImages>}
     * @throws {ListingImagesError} 404: not displayed; 409: displayed in several feeds, name one
     */
    listing(key: string, { feed, context, isFresh, signal }?: {
        feed?: string | null;
        context?: "view" | "search";
        isFresh?: boolean;
        signal?: AbortSignal;
    }): Promise<ListingImages>;
    /**
     * The first photos of up to 200 listings: one call for one page of search results.
     * @param {string[]} keys ListingKeys
     * @param {{feed?: string | null, photos?: number, signal?: AbortSignal}} [options] `photos` of each listing, 1 if not said
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
/**
 * One rendering of a photo; sides in pixels, size in bytes.
 */
export type Variant = {
    name: string;
    url: string;
    width: number;
    height: number;
    file_size: number;
};
/**
 * One photo. While there is no copy, `url` answers with the photo as soon as it is here, `srcset` is empty, `variants`
 * has no entry, and sizes are null.
 */
export type Image = {
    id: string;
    order: number;
    status: Status;
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
    images: Image[];
};
/**
 * The photos of one page of search results: by listing key; keys that are not displayed; keys of several feeds.
 */
export type SearchAnswer = {
    listings: Map<string, ListingImages>;
    unknown: string[];
    ambiguous: string[];
};
