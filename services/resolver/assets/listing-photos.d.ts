/** The element `<listing-photos>`. */
export class ListingPhotos extends HTMLElement {
    static observedAttributes: string[];
    /** The gallery's texts. A page may replace each of them, for example by another language's. */
    static words: {
        gallery: string;
        previous: string;
        next: string;
        choose: string;
        pending: string;
        failed: string;
        empty: string;
        error: string;
        /** @type {(number: number, all: number, alt: string) => string} */
        count: (number: number, all: number, alt: string) => string;
    };
    connectedCallback(): void;
    set images(images: import("./listing-images-client.js").Image[]);
    /** The photos shown. A page that has them already, for example from `search`, sets them; then the gallery requests none. */
    get images(): import("./listing-images-client.js").Image[];
    disconnectedCallback(): void;
    /** @param {string} _name @param {string | null} before @param {string | null} after */
    attributeChangedCallback(_name: string, before: string | null, after: string | null): void;
    #private;
}
export type Image = import("./listing-images-client.js").Image;
import { ListingImagesClient } from "./listing-images-client.js";
import { ListingImagesError } from "./listing-images-client.js";
import { thumbHashToImageData } from "./thumbhash.js";
export { ListingImagesClient, ListingImagesError, thumbHashToImageData };
