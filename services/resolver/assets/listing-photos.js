/**
 * `<listing-photos>`: a gallery of a listing's photos. It has its final size before any photo is loaded.
 *
 *     <listing-photos listing="C12000001" feed="proptx-idx" sizes="(max-width: 48rem) 100vw, 48rem"></listing-photos>
 *
 * Attributes: `listing` (the ListingKey), `feed` (needed if the key is displayed in several), `api` (the resolver's
 * address; by default the site that this module came from), `sizes` (how wide the gallery is, as for `<img>`), `loading`
 * (`eager` for a gallery that is the page's main content). The gallery writes `state`: `loading`, `ready`, `empty`, `error`.
 * Slots: `empty` and `error` replace the texts of these states. The event `statechange` has the error, if any, as `detail`.
 * Parts: `stage`, `photo`, `note`, `previous`, `next`, `count`, `thumbnails`, `thumbnail`.
 * Properties in CSS: `--listing-photos-fit` (`contain`), `--listing-photos-radius`, `--listing-photos-thumbnail` (height).
 */

import { ListingImagesClient, ListingImagesError } from "./listing-images-client.js";
import { thumbHashToImageData } from "./thumbhash.js";

/** @typedef {import("./listing-images-client.js").Image} Image */

export { ListingImagesClient, ListingImagesError, thumbHashToImageData };

/** How often a listing with missing photos is requested, with growing pauses: for some three minutes. */
const MAX_REQUESTS = 13;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/** How long the photos must not scroll to count as at rest. */
const AT_REST_MS = 120;

const STYLE = `
  :host { display: grid; grid-template-rows: minmax(0, 1fr) auto; aspect-ratio: 4 / 3; max-height: 90vh;
    container-type: inline-size; font: 1rem/1.4 system-ui, sans-serif; direction: ltr;
    --ground: light-dark(#e9ecef, #23292f); --ink: light-dark(#4c5661, #b4bdc7); --ring: light-dark(#1a5fd0, #8ab8ff); }
  :host([hidden]) { display: none }
  [part=stage] { position: relative; overflow: hidden; border-radius: var(--listing-photos-radius, .6rem);
    background: var(--ground); color: var(--ink) }
  ul { display: flex; height: 100%; margin: 0; padding: 0; list-style: none; overflow: auto hidden;
    scroll-snap-type: x mandatory; scrollbar-width: none; overscroll-behavior-x: contain }
  li { position: relative; flex: none; width: 100%; height: 100%; overflow: hidden; scroll-snap-align: start;
    scroll-snap-stop: always }
  canvas, img { position: absolute; inset: 0; width: 100%; height: 100% }
  canvas { object-fit: cover }
  li canvas { filter: blur(1rem); transform: scale(1.2) }
  img { object-fit: cover; opacity: 0 }
  li img { object-fit: var(--listing-photos-fit, contain) }
  img.here { opacity: 1 }
  [part=note], [part=message] { position: absolute; inset: 0; display: grid; place-content: center; margin: 0;
    padding: 1rem; text-align: center }
  button { all: unset; box-sizing: border-box; cursor: pointer; touch-action: manipulation }
  :focus-visible { outline: 3px solid var(--ring) }
  [part=stage]:has(ul:focus-visible)::after, [part~=thumbnail]:focus-visible::after, [aria-current]::after { content: "";
    position: absolute; inset: 0; border: 3px solid var(--ring); border-radius: inherit; pointer-events: none }
  [part=stage]:has(ul:focus-visible)::after, [part~=thumbnail]:focus-visible::after { outline: 2px solid #fff;
    outline-offset: -5px }
  [part=previous], [part=next] { position: absolute; top: calc(50% - 1.375rem); display: grid; place-content: center;
    width: 2.75rem; height: 2.75rem; border-radius: 50%; background: #fffd; color: #1d242b; box-shadow: 0 1px 4px #0006 }
  [part=previous] { left: .6rem } [part=next] { right: .6rem }
  [part=previous]:hover, [part=next]:hover { background: #fff }
  [part=previous]:focus-visible, [part=next]:focus-visible { outline-color: #1a5fd0 }
  svg { width: 1.25rem; fill: none; stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round }
  [part=count] { position: absolute; right: .6rem; bottom: .6rem; max-width: calc(100% - 1.2rem); margin: 0;
    padding: .1rem .7rem; border-radius: 1rem; background: #000b; color: #fff; font-size: .85rem;
    white-space: nowrap; overflow: hidden; text-overflow: ellipsis; box-sizing: border-box }
  [part=thumbnails] { display: flex; gap: .4rem; margin-top: .5rem; overflow: auto hidden; scrollbar-width: none;
    height: var(--listing-photos-thumbnail, clamp(3rem, 13cqi, 4.5rem)) }
  [part~=thumbnail] { position: relative; flex: none; height: 100%; aspect-ratio: 3 / 2; overflow: hidden;
    border-radius: .35rem; background: var(--ground) }
  [part~=thumbnail] > * { opacity: .6 } [part~=thumbnail] > img:not(.here) { opacity: 0 }
  [part~=thumbnail][aria-current] > *, [part~=thumbnail]:hover > * { opacity: 1 }
  [hidden] { display: none !important }
  @container (width < 22rem) {
    [part=previous], [part=next] { width: 2.25rem; height: 2.25rem; top: calc(50% - 1.125rem) }
    [part=count] { font-size: .8rem }
    @media (hover: hover) {
      [part=stage]:not(:hover, :focus-within) > :is([part=previous], [part=next]) { opacity: 0 }
    }
  }
  @media (prefers-reduced-motion: no-preference) {
    img { transition: opacity .25s } ul, [part=thumbnails] { scroll-behavior: smooth }
  }`;

/** The element `<listing-photos>`. */
export class ListingPhotos extends HTMLElement {
  static observedAttributes = ["listing", "feed", "api"];

  /** The gallery's texts. A page may replace each of them, for example by another language's. */
  static words = {
    gallery: "Photos",
    previous: "Previous photo",
    next: "Next photo",
    choose: "Choose a photo",
    pending: "Photo on its way",
    failed: "Photo not available",
    empty: "No photos to show",
    error: "Photos cannot be shown right now",
    /** @type {(number: number, all: number, alt: string) => string} */
    count: (number, all, alt) => `${number} / ${all}${alt === `Photo ${number}` ? "" : ` · ${alt}`}`,
  };

  /** @type {Image[]} */
  #images = [];
  #index = 0;
  /** @type {AbortController | undefined} */
  #requests;
  /** True if the page set the photos: then the gallery requests none. */
  #isGiven = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #restTimer;
  /**
   * The scroll position that a button or key leads to; undefined while the visitor scrolls.
   * @type {number | undefined}
   */
  #target;
  /** @type {Map<string, {slide: HTMLLIElement, thumbnail: HTMLButtonElement}>} */
  #frames = new Map();

  #internals = this.attachInternals();
  #slides = make("ul", { tabIndex: 0, role: "list" });
  #previous = make("button", { part: "previous", type: "button" }, arrow("M15 5l-7 7 7 7"));
  #next = make("button", { part: "next", type: "button" }, arrow("M9 5l7 7-7 7"));
  #count = make("p", { part: "count", ariaLive: "polite" });
  #empty = make("slot", { name: "empty" });
  #error = make("slot", { name: "error" });
  #message = make("p", { part: "message", role: "status" }, this.#empty, this.#error);
  #thumbnails = make("div", { part: "thumbnails", role: "group" });

  constructor() {
    super();
    this.#internals.role = "group";
    this.#message.hidden = true;
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet]; // no <style>: a page's Content-Security-Policy may forbid it
    root.append(
      make("div", { part: "stage" }, this.#slides, this.#previous, this.#next, this.#count, this.#message),
      this.#thumbnails,
    );
    root.addEventListener("keydown", (event) => this.#onKey(/** @type {KeyboardEvent} */ (event)));
    this.#previous.addEventListener("click", () => this.#go(this.#index - 1));
    this.#next.addEventListener("click", () => this.#go(this.#index + 1));
    this.#slides.addEventListener("scroll", () => this.#onScroll());
    for (const type of ["pointerdown", "touchstart", "wheel"]) {
      this.#slides.addEventListener(type, () => (this.#target = undefined), { passive: true });
    }
    this.#label();
  }

  connectedCallback() {
    if (Object.hasOwn(this, "images")) {
      // The page set the property before this class was defined: pass it through the setter.
      const { images } = this;
      Reflect.deleteProperty(this, "images");
      this.images = images;
    }
    if (!this.#isGiven) this.#start();
  }

  disconnectedCallback() {
    this.#stop();
  }

  /** @param {string} _name @param {string | null} before @param {string | null} after */
  attributeChangedCallback(_name, before, after) {
    if (!this.isConnected || before === after) return;
    this.#show([]);
    this.#start();
  }

  /** The photos shown. A page that has them already, for example from `search`, sets them; then the gallery requests none. */
  get images() {
    return this.#images;
  }

  set images(images) {
    this.#stop();
    this.#isGiven = true;
    this.#show(images);
    this.#become(images.length ? "ready" : "empty");
  }

  // Requests

  #stop() {
    this.#requests?.abort();
    this.#requests = undefined;
  }

  /** Request the listing that the attributes name, once if several attributes change together. */
  #start() {
    this.#stop();
    this.#isGiven = false;
    if (!this.getAttribute("listing")) return;
    const { signal } = (this.#requests = new AbortController());
    this.#become("loading");
    queueMicrotask(() => signal.aborted || this.#load(signal));
  }

  /** Request the listing, and again while photos are missing, until aborted. @param {AbortSignal} signal */
  async #load(signal) {
    const client = new ListingImagesClient(this.getAttribute("api") || import.meta.url);
    const key = this.getAttribute("listing") ?? "";
    const feed = this.getAttribute("feed");
    for (let round = 0; round < MAX_REQUESTS; round++) {
      let pause = Math.min(FIRST_PAUSE_MS * 1.5 ** round, MAX_PAUSE_MS) * (0.8 + 0.4 * Math.random());
      try {
        const { images } = await client.listing(key, { feed, isFresh: round > 0, signal });
        if (signal.aborted) return;
        this.#show(images);
        this.#become(images.length ? "ready" : "empty");
        if (images.every(hasCopy)) return;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ListingImagesError)) throw error;
        this.#showError(error);
        if (!error.isPassing) return;
        pause = Math.max(pause, error.retryAfter * 1000);
      }
      await pauseFor(pause, signal);
      await untilVisible(signal);
      if (signal.aborted) return;
    }
  }

  /**
   * Show an error in place of the photos. Photos that are shown stay while the error may pass.
   * @param {ListingImagesError} error
   */
  #showError(error) {
    if (error.isPassing && this.#images.length) return;
    this.#show([]);
    this.#become(error.status === 404 ? "empty" : "error", error);
    if (!error.isPassing) console.warn(`<listing-photos listing="${this.getAttribute("listing")}">: ${error.message}`);
  }

  /**
   * Write the state, and dispatch `statechange` if it is another.
   * @param {"loading" | "ready" | "empty" | "error"} state
   * @param {ListingImagesError} [error]
   */
  #become(state, error) {
    this.#empty.hidden = state !== "empty";
    this.#error.hidden = state !== "error";
    this.#message.hidden = state !== "empty" && state !== "error";
    // While loading, the empty row keeps the thumbnails' place.
    this.#thumbnails.hidden = state !== "loading" && this.#images.length < 2;
    if (this.getAttribute("state") === state) return;
    this.setAttribute("state", state);
    this.dispatchEvent(new CustomEvent("statechange", { detail: error }));
  }

  // Photos

  /**
   * Show photos. The elements of photos that were shown before are kept, and the current photo stays in view.
   * @param {Image[]} images
   */
  #show(images) {
    const current = this.#images[this.#index]?.id;
    const before = this.#images.map(({ id }) => id).join();
    this.#images = images;
    const frames = new Map(images.map((image) => [image.id, this.#frames.get(image.id) ?? this.#frame(image.id)]));
    this.#frames = frames;
    if (images.map(({ id }) => id).join() !== before) {
      this.#slides.replaceChildren(...[...frames.values()].map(({ slide }) => slide));
      this.#thumbnails.replaceChildren(...[...frames.values()].map(({ thumbnail }) => thumbnail));
    }
    const sizes = this.getAttribute("sizes") || "100vw";
    images.forEach((image, at) => {
      const frame = frames.get(image.id);
      const isFirst = at === 0 && this.getAttribute("loading") === "eager";
      if (frame) paint(frame.slide, image, { sizes, loading: isFirst ? "eager" : "lazy" });
      if (frame) paint(frame.thumbnail, { ...image, alt: "" }, { sizes: "7rem", loading: "lazy" });
    });
    this.#index = Math.max(0, images.findIndex(({ id }) => id === current));
    if (current && this.#index) this.#slides.scrollTo({ left: this.#index * this.#slides.clientWidth, behavior: "instant" });
    this.#label();
  }

  /** Return the empty elements for a photo. @param {string} id */
  #frame(id) {
    const thumbnail = make("button", { part: "thumbnail", type: "button" });
    thumbnail.addEventListener("click", () => this.#go(this.#images.findIndex((image) => image.id === id)));
    return { slide: make("li", {}), thumbnail };
  }

  /** Write all texts and labels, and mark the thumbnail of the current photo. */
  #label() {
    const all = this.#images.length;
    const { words } = ListingPhotos;
    const { count } = words;
    this.#internals.ariaLabel = this.#slides.ariaLabel = words.gallery;
    this.#previous.ariaLabel = words.previous;
    this.#next.ariaLabel = words.next;
    this.#thumbnails.ariaLabel = words.choose;
    this.#empty.textContent = words.empty;
    this.#error.textContent = words.error;
    this.#previous.hidden = this.#next.hidden = this.#count.hidden = all < 2;
    this.#count.textContent = all ? count(this.#index + 1, all, this.#images[this.#index].alt) : "";
    this.#images.forEach(({ id, alt }, at) => {
      const thumbnail = this.#frames.get(id)?.thumbnail;
      if (!thumbnail) return;
      thumbnail.ariaLabel = count(at + 1, all, alt);
      thumbnail.ariaCurrent = at === this.#index ? "true" : null;
      thumbnail.tabIndex = at === this.#index ? 0 : -1;
    });
    for (const at of [this.#index, this.#index + 1]) {
      this.#slides.children[at]?.querySelector("img")?.setAttribute("loading", "eager");
    }
  }

  // Navigation

  /** Scroll to a photo; the first follows the last. @param {number} index */
  #go(index) {
    const all = this.#images.length;
    if (!all) return;
    clearTimeout(this.#restTimer); // the photo at which the visitor's scrolling came to rest is no longer the current one
    this.#index = (index + all) % all;
    this.#target = this.#index * this.#slides.clientWidth;
    this.#slides.scrollTo({ left: this.#target });
    this.#revealThumbnail();
    this.#label();
  }

  /** Scroll the current photo's thumbnail into view; only the row of thumbnails scrolls, never the page. */
  #revealThumbnail() {
    const row = this.#thumbnails;
    const thumbnail = /** @type {HTMLElement | undefined} */ (row.children[this.#index]);
    if (!thumbnail) return;
    row.scrollTo({ left: thumbnail.offsetLeft - row.offsetLeft - (row.clientWidth - thumbnail.offsetWidth) / 2 });
  }

  /** Once the visitor's scrolling comes to rest, make the photo in view the current one; ignore scrolling to a target. */
  #onScroll() {
    clearTimeout(this.#restTimer);
    if (this.#target !== undefined) {
      if (Math.abs(this.#slides.scrollLeft - this.#target) < 2) this.#target = undefined;
      return;
    }
    this.#restTimer = setTimeout(() => {
      const index = Math.round(this.#slides.scrollLeft / (this.#slides.clientWidth || 1));
      if (index === this.#index || index >= this.#images.length) return;
      this.#index = index;
      this.#revealThumbnail();
      this.#label();
    }, AT_REST_MS);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const last = this.#images.length - 1;
    const to = { ArrowLeft: this.#index - 1, ArrowRight: this.#index + 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 1) return;
    event.preventDefault();
    this.#go(to);
    const isInRow = this.#thumbnails.contains(/** @type {Node} */ (event.target));
    if (isInRow) /** @type {HTMLElement} */ (this.#thumbnails.children[this.#index]).focus({ preventScroll: true });
  }
}

/** Return true if a photo has a copy to show. @param {Image} image */
function hasCopy(image) {
  return image.variants.length > 0;
}

/**
 * Fill a frame with a photo above the colours of its ThumbHash, or with a text if the photo has no copy. Do nothing if the
 * frame shows the same already.
 * @param {HTMLElement} frame
 * @param {Image} image
 * @param {{sizes: string, loading: "eager" | "lazy"}} options as for `<img>`
 */
function paint(frame, image, { sizes, loading }) {
  const shows = JSON.stringify([image.url, image.status, image.alt]);
  if (frame.dataset.shows === shows) return;
  frame.dataset.shows = shows;
  const { words } = ListingPhotos;
  const isThumbnail = frame.matches("[part~=thumbnail]");
  if (!hasCopy(image)) {
    const note = image.status === "failed" ? words.failed : words.pending;
    frame.replaceChildren(make("p", { part: "note" }, isThumbnail ? "…" : note));
    return;
  }
  // Before `src` is set: the browser chooses the file by these.
  const img = make("img", { part: "photo", alt: image.alt, decoding: "async", loading, sizes, srcset: image.srcset });
  if (image.width && image.height) Object.assign(img, { width: image.width, height: image.height });
  // The fade begins once the photo can be painted; begun earlier, it would be over before the photo appears.
  img.addEventListener("load", () => img.decode().catch(() => {}).then(() => img.classList.add("here")));
  img.addEventListener("error", () => frame.replaceChildren(make("p", { part: "note" }, isThumbnail ? "×" : words.failed)));
  img.src = image.url;
  frame.replaceChildren(...colours(image.thumbhash), img);
}

/**
 * Return the canvas that stands for a photo until it is loaded; none if its ThumbHash cannot be read.
 * @param {string | null} hash
 */
function colours(hash) {
  if (!hash) return [];
  try {
    const pixels = thumbHashToImageData(hash);
    const canvas = make("canvas", { width: pixels.width, height: pixels.height, ariaHidden: "true" });
    canvas.getContext("2d")?.putImageData(pixels, 0, 0);
    return [canvas];
  } catch {
    return [];
  }
}

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Omit<Partial<HTMLElementTagNameMap[Tag]>, "part"> & {part?: string}} properties
 * @param {...(Node | string)} children a string becomes text, never markup
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function make(tag, { part, ...properties }, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  if (part) element.setAttribute("part", part);
  element.append(...children);
  return element;
}

/** Return an icon of one line. @param {string} path in a square of 24 units */
function arrow(path) {
  const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Wait, but no longer than until aborted. @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pauseFor(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** Wait until the page is visible, or until aborted. @param {AbortSignal} signal @returns {Promise<void>} */
function untilVisible(signal) {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

customElements.define("listing-photos", ListingPhotos);
