// Events of a URL over all connections, as EventSource gives them, but with a header for the token.

const PAUSE = 400; // milliseconds before the next connection

export class Source {
  constructor(url, headers, onEvent, onState) {
    Object.assign(this, { url, headers, onEvent, onState, last: null });
    this.control = new AbortController();
    this.run();
  }

  close() {
    this.control.abort();
  }

  async run() {
    const signal = this.control.signal;
    while (!signal.aborted) {
      try {
        await this.connect(signal);
        this.onState("ended");
      } catch (error) {
        if (signal.aborted) return;
        this.onState(error.status === 401 ? "token" : "lost");
        if (error.status === 401) return;
      }
      await new Promise((go) => setTimeout(go, PAUSE));
    }
  }

  async connect(signal) {
    const headers = { ...this.headers };
    if (this.last) headers["Last-Event-ID"] = this.last;
    const response = await fetch(this.url, { headers, signal, cache: "no-store" });
    if (!response.ok) throw Object.assign(new Error(response.statusText), { status: response.status });
    this.onState("live");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pieces = [];
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      pieces.push(value);
      if (!value.includes("\n")) continue;
      const blocks = pieces.join("").split("\n\n");
      pieces = [blocks.pop()];
      for (const block of blocks) this.take(block);
    }
  }

  take(block) {
    let name = "", data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) this.last = line.slice(4);
      else if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (name) this.onEvent(name, JSON.parse(data));
  }
}

export const parts = (pointer) =>
  pointer === "" ? [] : pointer.slice(1).split("/").map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));

// Applies RFC 6902 operations to holder.value; returns whether the set of places has changed.
export function apply(holder, patch) {
  let reshaped = false;
  for (const { op, path, value } of patch) {
    const tokens = ["value", ...parts(path)];
    const key = tokens.pop();
    const container = tokens.reduce((at, token) => at[token], holder);
    const isNew = !Object.hasOwn(container, key), old = container[key];
    if (Array.isArray(container) && op !== "replace") {
      const index = key === "-" ? container.length : Number(key);
      if (op === "add") container.splice(index, 0, value);
      else container.splice(index, 1);
    } else if (op === "remove") delete container[key];
    else put(container, key, value);
    reshaped ||= op === "remove" || isNew || isContainer(old) || isContainer(value) ||
      Array.isArray(container);
  }
  return reshaped;
}

// An assignment to __proto__ would make no field.
const put = (container, key, value) =>
  Object.defineProperty(container, key, { value, writable: true, enumerable: true, configurable: true });

export const isContainer = (value) => typeof value === "object" && value !== null;
