"use strict";
// Keeps a page live: asks for what changed, puts it in place, and lets ages grow. Without this the page is as it was when it came.
(() => {
  const EVERY_MS = 800, HIDDEN_MS = 10000, LONGEST_MS = 8000, PATIENCE_MS = 10000;
  const live = document.getElementById("live");
  const offline = document.getElementById("offline");
  let clockMs = 0; // how far the dispatcher's clock is ahead of ours
  let failures = 0, tag = live ? live.dataset.tag : "", lastMs = Date.now();

  // ---- times

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "your zone";
  const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const otherDay = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    for (const [size, unit, below, small] of UNITS) {
      if (whole >= size) {
        const rest = Math.floor((whole % size) / below);
        return Math.floor(whole / size) + " " + unit + (rest ? " " + rest + " " + small : "");
      }
    }
    return whole + " s";
  }

  function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    const now = Date.now() + clockMs;
    for (const element of document.querySelectorAll("time.age")) {
      const at = Date.parse(element.dateTime);
      if (!Number.isNaN(at)) put(element, at > now + 1000 ? "in " + duration((at - now) / 1000) : duration((now - at) / 1000));
    }
  }

  function moments(root) {
    const today = new Date().toDateString();
    for (const element of root.querySelectorAll("time.moment")) {
      const at = new Date(element.dateTime);
      if (!Number.isNaN(at.getTime())) put(element, (at.toDateString() === today ? sameDay : otherDay).format(at));
    }
  }

  function clock(at) {
    const told = Date.parse(at);
    if (!Number.isNaN(told) && Math.abs(told - Date.now() - clockMs) > 2000) clockMs = told - Date.now();
  }

  // ---- what the viewer has in hand stays as it is

  function held(root) {
    const focused = document.activeElement;
    return {
      chosen: new Set([...root.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value)),
      opened: new Map([...root.querySelectorAll("details[id]")].map((each) => [each.id, each.open])),
      typed: new Map([...root.querySelectorAll("input[id]:not([type=checkbox]), textarea[id], select[id]")].map((each) => [each.id, each.value])),
      focus: focused && root.contains(focused) ? path(focused) : null,
    };
  }

  function path(element) {
    if (element.id) return (root) => root.querySelector("#" + CSS.escape(element.id));
    const href = element.getAttribute("href"), value = element.getAttribute("value"), name = element.tagName.toLowerCase();
    return (root) => [...root.querySelectorAll(name)].find((each) => each.getAttribute("href") === href && each.getAttribute("value") === value);
  }

  function giveBack(root, was) {
    for (const box of root.querySelectorAll("input[type=checkbox]")) if (was.chosen.has(box.value)) box.checked = true;
    for (const each of root.querySelectorAll("details[id]")) if (was.opened.has(each.id)) each.open = was.opened.get(each.id);
    for (const each of root.querySelectorAll("input[id]:not([type=checkbox]), textarea[id], select[id]")) {
      if (was.typed.has(each.id)) each.value = was.typed.get(each.id);
    }
    if (was.focus && document.activeElement === document.body) {
      const again = was.focus(root);
      if (again) again.focus({ preventScroll: true });
    }
  }

  function replace(element, html) {
    const was = held(element);
    element.innerHTML = html; // made and escaped by the dispatcher's own templates
    moments(element);
    giveBack(element, was);
  }

  // ---- rows

  function rowOf(body, key, html) {
    const row = document.createElement(body.tagName === "TBODY" ? "tr" : "li");
    row.dataset.key = key;
    row.innerHTML = html;
    moments(row);
    row.className = "news";
    return row;
  }

  function arrange(body, told) {
    const rows = new Map([...body.children].map((row) => [row.dataset.key, row]));
    for (const [key, html] of Object.entries(told.changed)) {
      const row = rows.get(key);
      if (row) replace(row, html);
      else rows.set(key, rowOf(body, key, html));
    }
    if (!told.order) return;
    const wanted = new Set(told.order);
    for (const [key, row] of rows) if (!wanted.has(key)) row.remove();
    let at = body.firstElementChild;
    for (const key of told.order) {
      const row = rows.get(key);
      if (!row) continue;
      if (row === at) at = at.nextElementSibling;
      else move(body, row, at);
    }
    const table = body.closest("table");
    if (!table) return;
    table.hidden = !body.children.length;
    const acts = document.getElementById("chosen");
    if (acts) acts.hidden = table.hidden;
  }

  function move(body, row, before) {
    const focused = row.contains(document.activeElement) ? document.activeElement : null;
    body.insertBefore(row, before);
    if (focused) focused.focus({ preventScroll: true });
  }

  // ---- asking

  function show(news) {
    tag = news.tag;
    clock(news.at);
    for (const [name, html] of Object.entries(news.parts)) {
      const part = live.querySelector('[data-part="' + CSS.escape(name) + '"]');
      if (part) replace(part, html);
    }
    for (const [name, told] of Object.entries(news.rows)) {
      const body = live.querySelector('[data-rows="' + CSS.escape(name) + '"]');
      if (body) arrange(body, told);
    }
    document.title = document.title.replace(/^[^·]*·/, news.level + " ·");
    tick();
  }

  function showWhole(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("live");
    if (!fresh) return;
    clock(fresh.dataset.at);
    replace(live, fresh.innerHTML);
    tick();
  }

  async function ask() {
    const whole = "whole" in live.dataset;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), PATIENCE_MS);
    try {
      const headers = whole && tag ? { "If-None-Match": tag } : {};
      if (whole) headers.Accept = "text/html";
      const where = whole ? location.href : "/changes?since=" + encodeURIComponent(tag);
      const answer = await fetch(where, { headers, cache: "no-store", credentials: "same-origin", redirect: "manual", signal: stop.signal });
      if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) return signedOut();
      if (answer.status === 304) return well();
      if (whole && answer.status === 404) return well();
      if (!answer.ok) throw new Error("the dispatcher answered " + answer.status);
      if (whole) {
        tag = answer.headers.get("ETag") || "";
        showWhole(await answer.text());
      } else show(await answer.json());
      well();
    } catch (problem) {
      trouble(problem);
    } finally {
      clearTimeout(timer);
    }
  }

  let over = false;

  function signedOut() {
    over = true;
    say("You are signed out, and what you see is no longer live. ", "/sign-in?next=" + encodeURIComponent(location.pathname + location.search), "Sign in");
  }

  function well() {
    failures = 0;
    lastMs = Date.now();
    if (offline && !over) offline.hidden = true;
  }

  function trouble(problem) {
    failures += 1;
    if (failures < 2) return;
    const why = problem.name === "AbortError" ? "no answer in time" : problem.message;
    say("The dispatcher does not answer since " + sameDay.format(new Date(lastMs)) + " (" + why + "): what you see is old.");
  }

  function say(text, href, word) {
    if (!offline) return;
    offline.textContent = text;
    if (href) {
      const link = document.createElement("a");
      link.href = href;
      link.textContent = word;
      offline.append(link);
    }
    offline.hidden = false;
  }

  async function forever() {
    for (;;) {
      const pause = document.hidden ? HIDDEN_MS : Math.min(LONGEST_MS, EVERY_MS * 2 ** Math.min(failures, 4));
      await new Promise((done) => {
        const timer = setTimeout(done, pause);
        wake = () => { clearTimeout(timer); done(); };
      });
      if (over) return;
      await ask();
    }
  }
  let wake = () => {};

  // ---- beginning

  const place = document.getElementById("zone");
  if (place) place.textContent = "Times are those of " + zone + "; hover for UTC.";
  if (live) clock(live.dataset.at);
  moments(document);
  tick();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wake(); });
  if (live) forever();
})();
