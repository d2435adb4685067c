/**
 * `<listing-photos>`: a listing's photos as a gallery that keeps its size from the first moment.
 *
 *     <listing-photos listing="C12000001" feed="proptx-idx" sizes="(max-width: 48rem) 100vw, 48rem"></listing-photos>
 *
 * Attributes: `listing` (the ListingKey), `feed` (where the key is displayed in several), `api` (where the resolver
 * answers; where this module came from if not given), `sizes` (how wide the gallery is, as for `<img>`), `loading`
 * (`eager` for a gallery that is the page's main content). `state` is written: `loading`, `ready`, `empty`, `error`.
 * Slots: `empty` and `error` replace the words shown then. The event `statechange` has the error, if any, as `detail`.
 * Parts: `stage`, `photo`, `note`, `previous`, `next`, `count`, `thumbnails`, `thumbnail`.
 * Properties in CSS: `--listing-photos-fit` (`contain`), `--listing-photos-radius`, `--listing-photos-thumbnail` (height).
 */

import { ListingImagesClient, ListingImagesError } from "./listing-images-client.js";
import { thumbHashToImageData } from "./thumbhash.js";

/** @typedef {import("./listing-images-client.js").Image} Image */

export { ListingImagesClient, ListingImagesError, thumbHashToImageData };

/** Photos that are missing are asked for this often, ever less often: for some three minutes. */
const MOST_ROUNDS = 13;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const SETTLED_MS = 120;

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

/** A listing's photos as a gallery. */
export class ListingPhotos extends HTMLElement {
  static observedAttributes = ["listing", "feed", "api"];

  /** What the gallery says; a page may replace any of it, such as for another language. */
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
  #following;
  /** Whether the page set the photos: then none are asked for. */
  #isGiven = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settling;
  /** Where the photos are being moved to; nothing while a visitor moves them. @type {number | undefined} */
  #heading;
  /** @type {Map<string, {slide: HTMLLIElement, thumbnail: HTMLButtonElement}>} */
  #shown = new Map();

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
    for (const hand of ["pointerdown", "touchstart", "wheel"]) {
      this.#slides.addEventListener(hand, () => (this.#heading = undefined), { passive: true });
    }
    this.#say();
  }

  connectedCallback() {
    if (Object.hasOwn(this, "images")) {
      // Set before this class was known: pass it through the setter.
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

  /** The photos shown. Set them where the page has the answer already, such as from `search`; then none is asked for. */
  get images() {
    return this.#images;
  }

  set images(images) {
    this.#stop();
    this.#isGiven = true;
    this.#show(images);
    this.#become(images.length ? "ready" : "empty");
  }

  // Asking

  #stop() {
    this.#following?.abort();
    this.#following = undefined;
  }

  /** Ask for the listing that the attributes name; what several attributes change together is asked for once. */
  #start() {
    this.#stop();
    this.#isGiven = false;
    if (!this.getAttribute("listing")) return;
    const { signal } = (this.#following = new AbortController());
    this.#become("loading");
    queueMicrotask(() => signal.aborted || this.#follow(signal));
  }

  /** Ask, and ask again while photos are missing. @param {AbortSignal} signal */
  async #follow(signal) {
    const client = new ListingImagesClient(this.getAttribute("api") || import.meta.url);
    const key = this.getAttribute("listing") ?? "";
    const feed = this.getAttribute("feed");
    for (let round = 0; round < MOST_ROUNDS; round++) {
      let pause = Math.min(FIRST_PAUSE_MS * 1.5 ** round, LONGEST_PAUSE_MS) * (0.8 + 0.4 * Math.random());
      try {
        const { images } = await client.listing(key, { feed, isFresh: round > 0, signal });
        if (signal.aborted) return;
        this.#show(images);
        this.#become(images.length ? "ready" : "empty");
        if (images.every(isHere)) return;
      } catch (fault) {
        if (signal.aborted) return;
        if (!(fault instanceof ListingImagesError)) throw fault;
        this.#refused(fault);
        if (!fault.isPassing) return;
        pause = Math.max(pause, fault.retryAfter * 1000);
      }
      await timePasses(pause, signal);
      await pageIsSeen(signal);
      if (signal.aborted) return;
    }
  }

  /** What is shown stays while the fault may pass; it goes where the listing is no longer displayed. @param {ListingImagesError} fault */
  #refused(fault) {
    if (fault.isPassing && this.#images.length) return;
    this.#show([]);
    this.#become(fault.status === 404 ? "empty" : "error", fault);
    if (!fault.isPassing) console.warn(`<listing-photos listing="${this.getAttribute("listing")}">: ${fault.message}`);
  }

  /** @param {"loading" | "ready" | "empty" | "error"} state @param {ListingImagesError} [fault] */
  #become(state, fault) {
    this.#empty.hidden = state !== "empty";
    this.#error.hidden = state !== "error";
    this.#message.hidden = state !== "empty" && state !== "error";
    this.#thumbnails.hidden = state !== "loading" && this.#images.length < 2; // until then it keeps their place
    if (this.getAttribute("state") === state) return;
    this.setAttribute("state", state);
    this.dispatchEvent(new CustomEvent("statechange", { detail: fault }));
  }

  // Showing

  /** Show these photos; those that were shown stay where they are, and the one looked at stays in sight. @param {Image[]} images */
  #show(images) {
    const looked = this.#images[this.#index]?.id;
    const before = this.#images.map(({ id }) => id).join();
    this.#images = images;
    const shown = new Map(images.map((image) => [image.id, this.#shown.get(image.id) ?? this.#frame(image.id)]));
    this.#shown = shown;
    if (images.map(({ id }) => id).join() !== before) {
      this.#slides.replaceChildren(...[...shown.values()].map(({ slide }) => slide));
      this.#thumbnails.replaceChildren(...[...shown.values()].map(({ thumbnail }) => thumbnail));
    }
    const sizes = this.getAttribute("sizes") || "100vw";
    images.forEach((image, at) => {
      const frame = shown.get(image.id);
      const isFirst = at === 0 && this.getAttribute("loading") === "eager";
      if (frame) paint(frame.slide, image, { sizes, loading: isFirst ? "eager" : "lazy" });
      if (frame) paint(frame.thumbnail, { ...image, alt: "" }, { sizes: "7rem", loading: "lazy" });
    });
    this.#index = Math.max(0, images.findIndex(({ id }) => id === looked));
    if (looked && this.#index) this.#slides.scrollTo({ left: this.#index * this.#slides.clientWidth, behavior: "instant" });
    this.#say();
  }

  /** @param {string} id */
  #frame(id) {
    const thumbnail = make("button", { part: "thumbnail", type: "button" });
    thumbnail.addEventListener("click", () => this.#go(this.#images.findIndex((image) => image.id === id)));
    return { slide: make("li", {}), thumbnail };
  }

  /** Say which photo is looked at, and everything else in the page's words. */
  #say() {
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
      const thumbnail = this.#shown.get(id)?.thumbnail;
      if (!thumbnail) return;
      thumbnail.ariaLabel = count(at + 1, all, alt);
      thumbnail.ariaCurrent = at === this.#index ? "true" : null;
      thumbnail.tabIndex = at === this.#index ? 0 : -1;
    });
    for (const at of [this.#index, this.#index + 1]) {
      this.#slides.children[at]?.querySelector("img")?.setAttribute("loading", "eager");
    }
  }

  // Moving

  /** Look at a photo; after the last comes the first. @param {number} index */
  #go(index) {
    const all = this.#images.length;
    if (!all) return;
    clearTimeout(this.#settling); // where the photos rested before is no longer what is looked at
    this.#index = (index + all) % all;
    this.#heading = this.#index * this.#slides.clientWidth;
    this.#slides.scrollTo({ left: this.#heading });
    this.#revealThumbnail();
    this.#say();
  }

  /** Only the row of thumbnails may scroll, never the page. */
  #revealThumbnail() {
    const row = this.#thumbnails;
    const one = /** @type {HTMLElement | undefined} */ (row.children[this.#index]);
    if (one) row.scrollTo({ left: one.offsetLeft - row.offsetLeft - (row.clientWidth - one.offsetWidth) / 2 });
  }

  /** A finger or a wheel moves the photos: once they rest, say which is seen. What passes on the way elsewhere is not. */
  #onScroll() {
    clearTimeout(this.#settling);
    if (this.#heading !== undefined) {
      if (Math.abs(this.#slides.scrollLeft - this.#heading) < 2) this.#heading = undefined;
      return;
    }
    this.#settling = setTimeout(() => {
      const index = Math.round(this.#slides.scrollLeft / (this.#slides.clientWidth || 1));
      if (index === this.#index || index >= this.#images.length) return;
      this.#index = index;
      this.#revealThumbnail();
      this.#say();
    }, SETTLED_MS);
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

/** Whether there is a copy to show. @param {Image} image */
function isHere(image) {
  return image.variants.length > 0;
}

/**
 * Fill a frame with a photo, its ThumbHash beneath, or with words where there is none; nothing if it shows that already.
 * @param {HTMLElement} frame
 * @param {Image} image
 * @param {{sizes: string, loading: "eager" | "lazy"}} how
 */
function paint(frame, image, { sizes, loading }) {
  const shows = JSON.stringify([image.url, image.status, image.alt]);
  if (frame.dataset.shows === shows) return;
  frame.dataset.shows = shows;
  const { words } = ListingPhotos;
  const isThumbnail = frame.matches("[part~=thumbnail]");
  if (!isHere(image)) {
    const note = image.status === "failed" ? words.failed : words.pending;
    frame.replaceChildren(make("p", { part: "note" }, isThumbnail ? "…" : note));
    return;
  }
  // Before src: what the choice of the file depends on.
  const img = make("img", { part: "photo", alt: image.alt, decoding: "async", loading, sizes, srcset: image.srcset });
  if (image.width && image.height) Object.assign(img, { width: image.width, height: image.height });
  // Once it can be painted: what fades in before that is seen to come all at once.
  img.addEventListener("load", () => img.decode().catch(() => {}).then(() => img.classList.add("here")));
  img.addEventListener("error", () => frame.replaceChildren(make("p", { part: "note" }, isThumbnail ? "×" : words.failed)));
  img.src = image.url;
  frame.replaceChildren(...colours(image.thumbhash), img);
}

/** The canvas that stands in for a photo; none where the hash cannot be read. @param {string | null} hash */
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
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Omit<Partial<HTMLElementTagNameMap[Tag]>, "part"> & {part?: string}} properties
 * @param {...(Node | string)} children text stays text
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function make(tag, { part, ...properties }, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  if (part) element.setAttribute("part", part);
  element.append(...children);
  return element;
}

/** @param {string} path */
function arrow(path) {
  const [svg, line] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function timePasses(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** Nobody asks for a page that nobody looks at. @param {AbortSignal} signal @returns {Promise<void>} */
function pageIsSeen(signal) {
  return new Promise((resolve) => {
    if (!document.hidden) return resolve();
    document.addEventListener("visibilitychange", () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

customElements.define("listing-photos", ListingPhotos);
