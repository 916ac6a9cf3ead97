// The page in a real browser, held against the journal. One browser; each part stands on what the ones before left.

import assert from "node:assert/strict";
import path from "node:path";
import { after, before } from "node:test";

import { away, complaints, hardToRead, live, nameless, openBrowser, openPage, recordsShown, scrollsSideways, sentences, show, together, violations } from "./browser.mjs";
import { burst, emit, endDaemon, host, journal, killDaemon, last, startDaemon, startMachine, until } from "./host.mjs";
import { test } from "./part.mjs";

/** @type {import("playwright-core").BrowserContext} */
let context;

before(async () => {
  context = await openBrowser();
});

after(async () => {
  await context.close();
  endDaemon();
});

/** @param {import("playwright-core").Page} page */
async function wantOlder(page) {
  await page.evaluate(() => scrollTo({ top: document.documentElement.scrollHeight }));
  const older = page.locator(".older");
  if (await older.isVisible()) await older.evaluate((button) => /** @type {HTMLElement} */ (button).click());
}

/** @param {string} name */
const machine = (name) => `#/machine/${encodeURIComponent(name)}`;

test("who is not let in is told how to get in", async () => {
  away.meant = true;
  const page = await openPage(context, "#/stream");
  await page.getByRole("heading", { name: "How to get in" }).waitFor();
  assert.match((await page.locator("main").textContent()) ?? "", /qev page/);
  assert.equal(await page.locator(".record").count(), 0);
  await page.close();
  away.meant = false;
});

test("the address of qev page leads in, and the fleet has every machine, the worst first", async () => {
  const page = await openPage(context, host.address);
  await live(page);
  const names = ["dying-disk", "crashing-guest", "calm-day", "memory-that-will-not-unplug", "steady", "real"];
  for (const name of names) await page.locator(".tile-name", { hasText: name }).first().waitFor();
  await until("every machine has a tile", async () => (await page.locator(".tile").count()) === names.length + 2);
  // What happens now is shown at once, and finds its place when the whole is asked for again.
  await until("the worst stand first", async () => {
    const ranks = await page.locator(".tile").evaluateAll((tiles) => tiles.map((tile) => ["debug", "info", "notice", "warning", "error", "critical"].findIndex((name) => tile.classList.contains(`severity-${name}`))));
    return JSON.stringify(ranks) === JSON.stringify(ranks.toSorted((a, b) => b - a));
  });
  const real = page.locator(".tile", { has: page.locator(".tile-name", { hasText: "real" }) });
  await real.locator(".tile-state", { hasText: "panicked" }).waitFor();
  await real.getByRole("link").click();
  await page.waitForURL(/#\/machine\/real/);
  await page.close();
});

test("what happens is shown as it happens, and the scenarios come to their ends", async () => {
  const page = await openPage(context, "#/stream?machine=steady");
  await live(page);
  emit(host.steady, "VSERPORT_CHANGE", { id: "as-it-happens", open: true });
  await page.locator(".record", { hasText: "VSERPORT_CHANGE" }).first().waitFor();
  await page.close();
  await until("all scenarios ended", () => journal("-m", "*-*", "-e", "SHUTDOWN").length >= 4);
});

test("filters show what qev log shows for the same", async () => {
  const cases = [
    ["event=QUORUM_*&kind=event", ["-e", "QUORUM_*"]],
    ["machine=crashing-guest&severity=critical", ["-m", "crashing-guest", "--severity", "critical"]],
    ["event=GUEST_PANICKED&where=data.action%3Dpause&kind=event", ["-e", "GUEST_PANICKED", "-w", "data.action=pause"]],
  ];
  const page = await openPage(context, "#/fleet");
  for (const [address, words] of /** @type {[string, string[]][]} */ (cases)) {
    await show(page, `#/stream?${address}`);
    const expected = journal(...words).filter((record) => !address.includes("kind=event") || record.kind === "event");
    assert.ok(expected.length > 0, address);
    await until(`${expected.length} records at ${address}`, async () => (await recordsShown(page)) === expected.length);
    assert.equal((await sentences(page))[0], expected.at(-1).summary);
  }
  // Typed by hand, it is in the address, and reloading it shows the same.
  await show(page, "#/stream");
  await live(page);
  await page.keyboard.press("/");
  await page.keyboard.type("QUORUM_* machine:dying-disk severity:error");
  await page.keyboard.press("Enter");
  await page.waitForURL(/event=QUORUM_\*&machine=dying-disk&severity=error/);
  const expected = journal("-e", "QUORUM_*", "-m", "dying-disk", "--severity", "error");
  const all = () => until("the records that meet it", async () => (await recordsShown(page)) === expected.length && (await sentences(page))[0] === expected.at(-1).summary);
  await all();
  const shown = await sentences(page);
  await page.reload();
  await all();
  assert.deepEqual(await sentences(page), shown);
  // A filter that the daemon does not take is told in its words.
  away.meant = true;
  await show(page, "#/stream?since=the+day+before");
  await page.getByRole("alert").filter({ hasText: "the day before" }).first().waitFor();
  await page.close();
  away.meant = false;
});

test("a stretch of the histogram can be chosen, and is in the address", async () => {
  const page = await openPage(context, "#/stream?since=-15min");
  await page.locator(".bars path").first().waitFor();
  await page.locator(".histogram-area").focus();
  for (let step = 0; step < 4; step += 1) await page.keyboard.press("ArrowLeft");
  for (let step = 0; step < 3; step += 1) await page.keyboard.press("Shift+ArrowRight");
  assert.match((await page.locator(".histogram-words").textContent()) ?? "", /record/);
  await page.keyboard.press("Enter");
  await page.waitForURL(/since=20.*&until=20/);
  await show(page, "#/stream?since=-15min");
  await page.locator(".bars path").first().waitFor();
  const box = await page.locator(".histogram-area").boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + box.width * 0.3, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/since=20.*&until=20/);
  await page.locator(".record").first().waitFor();
  await page.close();
});

test("a machine's balloon is the journal's, step by step", async () => {
  for (const name of ["calm-day", "real"]) {
    const page = await openPage(context, machine(name));
    const lane = page.locator(".of-balloon");
    await lane.waitFor();
    const points = /** @type {[number, number][]} */ (JSON.parse((await lane.getAttribute("data-points")) ?? ""));
    const expected = journal("-m", name, "-e", "BALLOON_CHANGE").map((record) => [record.seq, record.data.actual]);
    const seqs = new Set(expected.map(([seq]) => seq));
    assert.ok(expected.length > 1);
    assert.deepEqual(points.filter(([seq]) => seqs.has(seq)), expected);
    // A step for each value that there is, and no more.
    const line = (await lane.locator("path.actual").getAttribute("d")) ?? "";
    assert.equal(line.match(/V/g)?.length, points.length - 1, line);
    await page.close();
  }
});

test("the strips of a disk have the journal's bad sectors, replica by replica", async () => {
  for (const name of ["dying-disk", "real"]) {
    const page = await openPage(context, machine(name));
    await page.locator(".disk").waitFor();
    const reports = journal("-m", name, "-e", "QUORUM_REPORT_BAD");
    const failures = journal("-m", name, "-e", "QUORUM_FAILURE");
    assert.ok(reports.length > 0 && failures.length > 0);
    /** @param {string} node */
    const drawn = (node) => page.locator(`.disk-strip[data-node="${node}"] rect.bad`).evaluateAll((marks) => marks.flatMap((mark) => Array.from({ length: Number(mark.getAttribute("data-count")) }, (_, index) => Number(mark.getAttribute("data-sector")) + index)));
    /** @param {any[]} records */
    const sectors = (records) => [...new Set(records.flatMap(({ data }) => Array.from({ length: data["sectors-count"] }, (_, index) => data["sector-num"] + index)))].toSorted((a, b) => a - b);
    for (const child of new Set(reports.map(({ data }) => data["node-name"]))) {
      assert.deepEqual(await drawn(child), sectors(reports.filter(({ data }) => data["node-name"] === child)), `${name} ${child}`);
    }
    assert.deepEqual(await drawn("q0"), sectors(failures), `${name} q0`);
    if (name === "real") {
      // Every replica has its strip, those too of which no event ever spoke.
      const strips = await page.locator(".of-replica").evaluateAll((all) => all.map((strip) => strip.getAttribute("data-node")));
      assert.deepEqual(strips, ["c0", "c1", "c2"]);
    }
    await page.close();
  }
});

test("the lanes of a real QEMU have its panic, its slot's last answer and its state", async () => {
  const page = await openPage(context, machine("real"));
  await page.locator(".of-panics").waitFor();
  assert.equal(await page.locator(".of-panics text").count(), journal("-m", "real", "-e", "GUEST_PANICKED").length);
  assert.match((await page.locator(".of-slot .lane-said").first().textContent()) ?? "", /eject request: success/);
  assert.match((await page.locator(".of-run-state .lane-said").textContent()) ?? "", /panicked/);
  await page.close();
});

test("a record says what it means, stands among its neighbours, and is joined to what came of it", async () => {
  const [panic] = journal("-m", "real", "-e", "GUEST_PANICKED");
  const page = await openPage(context, `#/event/${panic.seq}`);
  await page.getByRole("heading", { level: 1, name: panic.summary }).waitFor();
  await page.getByRole("heading", { name: "What to do" }).waitFor();
  assert.match((await page.locator(".part", { hasText: "Members" }).first().textContent()) ?? "", /action.*pause/s);
  await page.locator(".near.is-joined", { hasText: "STOP" }).waitFor();
  // The whole record, to the byte but for how it is laid out.
  const raw = (await page.locator(".raw pre").textContent()) ?? "";
  assert.deepEqual(JSON.parse(raw), panic);
  const [bugCheck] = journal("-m", "crashing-guest", "-w", "data.info.type=hyper-v");
  await show(page, `#/event/${bugCheck.seq}`);
  await page.locator(".raw pre", { hasText: "18446735281458241536" }).waitFor();
  await page.close();
});

test("a list that is paused says how many are new, and shows them when it goes on", async () => {
  const page = await openPage(context, "#/stream?machine=steady&event=VSERPORT_CHANGE");
  await live(page);
  await page.keyboard.press("p");
  await page.getByRole("button", { name: "Go on" }).waitFor();
  const was = await recordsShown(page);
  for (let number = 0; number < 12; number += 1) emit(host.steady, "VSERPORT_CHANGE", { id: `paused-${number}`, open: number % 2 === 0 });
  await page.getByRole("button", { name: "12 new" }).waitFor();
  assert.equal(await recordsShown(page), was);
  assert.equal(await page.locator("#announced").textContent(), "12 new");
  await page.keyboard.press("p");
  await until("the twelve are there", async () => (await recordsShown(page)) === was + 12);
  assert.equal(await page.locator(".fresh").isVisible(), false);
  await page.close();
});

test("what says the same is one row, which opens", async () => {
  const page = await openPage(context, "#/stream?machine=steady&event=POWERDOWN");
  await live(page);
  for (let number = 0; number < 5; number += 1) emit(host.steady, "POWERDOWN", {});
  await page.getByRole("button", { name: /×5 in/ }).click();
  assert.equal(await page.locator(".members li").count(), 5);
  await page.getByRole("button", { name: /Raw JSON/ }).first().click();
  assert.match((await page.locator(".raw pre").textContent()) ?? "", /"event": "POWERDOWN"/);
  await page.close();
});

test("the keyboard alone is enough", async () => {
  const page = await openPage(context, "#/fleet");
  await live(page);
  await page.locator(".tile").nth(1).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.locator(".tile:focus-within").waitFor();
  await together(page, "g", "s");
  await page.waitForURL(/#\/stream/);
  await page.locator(".record").nth(3).waitFor();
  // Paused, so that no row comes between the keys.
  for (const key of ["p", "j", "j", "j", "k", "r"]) await page.keyboard.press(key);
  assert.equal(await page.locator(".record:focus-within").evaluate((row) => [...(row.parentElement?.children ?? [])].indexOf(row)), 1);
  await page.locator(".record:focus-within .raw pre").waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/event\/\d+/);
  await page.locator(".near").first().waitFor();
  await page.keyboard.press("m");
  await page.waitForURL(/#\/machine\//);
  await together(page, "g", "f");
  await page.waitForURL(/#\/fleet/);
  await page.locator(".tile").first().waitFor();
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement !== document.body));
  await page.close();
});

test("what has the focus keeps it while things change around it", async () => {
  const page = await openPage(context, "#/fleet");
  await live(page);
  const tile = page.locator(".tile", { hasText: "steady" });
  await tile.getByRole("link").focus();
  const said = await tile.textContent();
  emit(host.steady, "GUEST_PANICKED", { action: "run" });
  await until("the tile is drawn anew", async () => (await tile.textContent()) !== said);
  assert.ok(await tile.evaluate((there) => there.contains(document.activeElement)));

  await show(page, "#/stream?machine=steady");
  await live(page);
  emit(host.steady, "SUSPEND", {});
  const row = page.locator(".record", { hasText: "SUSPEND" }).first();
  await row.locator(".raw-button").focus();
  emit(host.steady, "SUSPEND", {});
  await row.locator(".often", { hasText: "×2" }).waitFor();
  emit(host.steady, "WAKEUP", {});
  await page.locator(".record", { hasText: "WAKEUP" }).first().waitFor();
  assert.ok(await row.evaluate((there) => there.querySelector(".raw-button") === document.activeElement));
  await page.close();
});

test("of thousands of machines those in sight are drawn, and each can be reached", async () => {
  const many = 3000;
  const machines = Array.from({ length: many }, (_, index) => ({ machine: `m${String(index).padStart(4, "0")}`, state: "attached", since: "2026-01-01T00:00:00Z", run_state: "running" }));
  const asked = "**/api/v1/machines";
  await context.route(asked, (route) => route.fulfill({ json: { machines, last: last() } }));
  const page = await openPage(context, "#/fleet");
  await live(page);
  const tiles = page.locator(".tile");
  await tiles.first().waitFor();
  const focused = () => page.evaluate(() => {
    const tile = document.activeElement?.closest(".tile");
    const box = tile?.getBoundingClientRect();
    return { name: tile?.querySelector(".tile-name")?.textContent, isInSight: box !== undefined && box.top >= 0 && box.bottom <= innerHeight };
  });
  assert.ok((await tiles.count()) < 200);
  assert.equal(await tiles.first().getAttribute("aria-setsize"), String(many));
  for (let key = 0; key < 60; key += 1) await page.keyboard.press("j");
  assert.deepEqual(await focused(), { name: "m0059", isInSight: true });
  // At the other end there is the last one; what has the focus keeps it, and goes on from there.
  await page.evaluate(() => scrollTo({ top: document.documentElement.scrollHeight }));
  await page.locator(`.tile[aria-posinset="${many}"]`, { hasText: "m2999" }).waitFor();
  assert.deepEqual(await focused(), { name: "m0059", isInSight: false });
  assert.ok((await tiles.count()) < 200);
  await page.keyboard.press("k");
  assert.deepEqual(await focused(), { name: "m0058", isInSight: true });
  await page.getByLabel("Find").fill("m1234");
  await page.locator('.tile[aria-setsize="1"]', { hasText: "m1234" }).waitFor();
  assert.equal(await tiles.count(), 1);
  await page.close();
  await context.unroute(asked);
});

test("what a guest wrote stays text, however it is written", async () => {
  const evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>\u202Etxt\u001b]0;owned\u0007';
  const long = "<b>".repeat(21_845);
  emit(host.hostile, "MEM_UNPLUG_ERROR", { device: evil, msg: evil });
  emit(host.hostile, "MEM_UNPLUG_ERROR", { device: long, msg: "a name of 64 KiB" });
  emit(host.hostile, "GUEST_CRASHLOADED", { action: evil, [evil]: { [evil]: evil } });
  const found = await until("hostile records", () => {
    const records = journal("-m", "*img*");
    return records.filter((record) => record.kind === "event").length >= 3 ? records : undefined;
  });
  const page = await openPage(context, "#/stream");
  const addresses = ["#/fleet", "#/stream", `#/stream?machine=${encodeURIComponent(host.hostile_name.replace(/[*?[\]]/g, "?"))}`, machine(found[0].machine), ...found.map(({ seq }) => `#/event/${seq}`)];
  for (const address of addresses) {
    await show(page, address);
    await page.locator("main", { hasText: "<img" }).first().waitFor();
    await page.locator(".raw-button").evaluateAll((buttons) => buttons.slice(0, 20).forEach((button) => /** @type {HTMLElement} */ (button).click()));
    assert.equal(await page.locator("img, main script, main b, main iframe").count(), 0, address);
    const unseen = await page.evaluate(() => /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.exec(document.documentElement.textContent ?? "")?.[0]);
    assert.equal(unseen, undefined, address);
    assert.notEqual(await page.title(), "1");
    assert.equal(await scrollsSideways(page), false, address);
    const tall = await page.locator(".record, .tile").evaluateAll((rows) => Math.max(0, ...rows.filter((row) => !row.querySelector(".raw")).map((row) => row.getBoundingClientRect().height)));
    assert.ok(tall < 400, `${address}: a row of ${tall} pixels`);
    const outside = await page.locator(".tile").evaluateAll((tiles) => tiles.filter((tile) => [...tile.querySelectorAll("span, p, time")].some((part) => part.getBoundingClientRect().right > tile.getBoundingClientRect().right)).length);
    assert.equal(outside, 0, `${address}: tiles that do not hold what they say`);
  }
  // A machine may be called so, too, with the longest name that is taken.
  await show(page, "#/fleet");
  await page.locator(".tile", { has: page.locator(".tile-name", { hasText: "<b><b>" }) }).getByRole("link").click();
  await page.locator("h1", { hasText: "<b><b>" }).waitFor();
  await page.locator(".record", { hasText: "attached" }).first().waitFor();
  await page.locator(".of-run-state", { hasText: "running" }).waitFor();
  assert.equal(await scrollsSideways(page), false);
  await page.close();
});

test("a machine that does not exist is said not to, and is shown when it comes", async () => {
  away.meant = true;
  const page = await openPage(context, "#/machine/comes-later");
  await page.getByRole("heading", { name: "There is no machine comes-later" }).waitFor();
  await live(page);
  assert.deepEqual(await violations(page), []);
  const comesLater = startMachine("comes-later");
  await page.getByRole("heading", { name: "comes-later", exact: true }).waitFor();
  await page.locator(".of-run-state", { hasText: "running" }).waitFor();
  await page.locator(".record", { hasText: "attached" }).first().waitFor();
  comesLater.kill();
  // What is not followed is not said to be connecting.
  for (const address of ["#/event/999999999", "#/stream?until=-1min", "#/stream?since=the+day+before"]) {
    await show(page, address);
    await page.locator('#status[data-state="still"]', { hasText: "not live" }).waitFor();
  }
  away.meant = false;
  await show(page, "#/stream?machine=nosuch");
  await page.locator(".list-words", { hasText: "No record matches machine:nosuch. There is no machine “nosuch”" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await show(page, "#/fleet?find=nosuch");
  await page.locator(".fleet-words", { hasText: "No machine matches “nosuch”" }).waitFor();
  await page.close();
});

test("the time zone is named, and QEMUs that are not attached are listed with their line", async () => {
  const page = await openPage(context, "#/fleet");
  await live(page);
  const offset = await page.evaluate(() => new Date().getTimezoneOffset());
  assert.match((await page.locator("#zone").textContent()) ?? "", offset === 0 ? /^UTC$/ : /^UTC[+−]\d/);
  const listed = page.locator(".unattached li", { hasText: "left-alone" });
  await listed.locator("code", { hasText: "-chardev socket,id=qev,path=" }).waitFor();
  assert.equal(await page.locator(".unattached li", { hasText: "real" }).count(), 0, "this one is attached");
  assert.deepEqual(await violations(page), []);
  await page.close();
});

test("the marks of a lane are reached by key, and lead to their records", async () => {
  const page = await openPage(context, machine("crashing-guest"));
  await live(page);
  const marks = page.locator(".of-panics svg a");
  await marks.first().waitFor();
  const newest = (await marks.count()) - 1;
  assert.ok(newest > 0);
  const at = () => marks.evaluateAll((links) => links.indexOf(/** @type {any} */ (document.activeElement)));
  assert.deepEqual(await marks.evaluateAll((links) => links.filter((link) => link.getAttribute("tabindex") === "0").length), 1);
  await marks.last().focus();
  await page.keyboard.press("ArrowLeft");
  assert.equal(await at(), newest - 1);
  await page.keyboard.press("Home");
  assert.equal(await at(), 0);
  await page.keyboard.press("Enter");
  await page.waitForURL(/#\/event\/\d+/);
  await page.locator("h1", { hasText: "guest kernel panicked" }).waitFor();
  await page.close();
});

test("older records come when they are wanted, and the list does not grow with them", async () => {
  const many = 400;
  for (let number = 0; number < many; number += 1) emit(host.steady, `X_${"ABCDEFGHIJKLMNOPQRST"[number % 20]}${"ABCDEFGHIJKLMNOPQRST"[Math.floor(number / 20)]}`, {});
  // They come in the order in which they happened.
  emit(host.steady, "X_LAST", {});
  await until("all are on disk", () => journal("-m", "steady", "-e", "X_LAST").length === 1);
  const page = await openPage(context, "#/stream?machine=steady");
  await live(page);
  const all = journal("-m", "steady").length;
  await until("all of them", async () => {
    await wantOlder(page);
    return (await recordsShown(page)) === all;
  });
  assert.ok((await page.locator(".record").count()) <= 1000);
  // Who reads older ones is not disturbed by new ones.
  emit(host.steady, "VSERPORT_CHANGE", { id: "while-scrolled", open: true });
  await page.getByRole("button", { name: "1 new" }).click();
  await page.locator(".record", { hasText: "VSERPORT_CHANGE" }).first().waitFor();
  await page.close();
});

test("more than a page takes at once is neither missed nor shown twice", async () => {
  const page = await openPage(context, "#/stream?machine=steady&event=POWERDOWN&kind=event");
  await live(page);
  const was = journal("-m", "steady", "-e", "POWERDOWN").length;
  // More than waits to be shown, in several goes, so that some come while a page is fetched.
  for (const many of [300, 4000, 700]) await burst(host.steady, Array.from({ length: many }, () => "POWERDOWN"));
  const all = await until("all are on disk", () => {
    const { length } = journal("-m", "steady", "-e", "POWERDOWN");
    return length === was + 5000 ? length : undefined;
  });
  await until("all are counted", async () => {
    await wantOlder(page);
    return (await recordsShown(page)) === all;
  });
  await page.close();
});

test("of a flood those rows are drawn that one sees, and the others, each once, when one scrolls to them", async () => {
  const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXY"];
  const events = letters.flatMap((one) => letters.map((other) => `FLOOD_${one}${other}`));
  const page = await openPage(context, "#/stream?machine=steady&event=FLOOD_*&kind=event");
  await live(page);
  await burst(host.steady, events);
  const rows = page.locator(".record");
  const names = () => page.locator(".record .name").allTextContents();
  await until("the newest is at the top", async () => (await names())[0] === events.at(-1));
  assert.ok((await rows.count()) < 150, `${await rows.count()} rows`);
  // The keys go on where the drawn ones end.
  await page.keyboard.press("p");
  const drawn = await rows.count();
  for (let key = 0; key < drawn + 5; key += 1) await page.keyboard.press("j");
  const focused = () => page.evaluate(() => document.activeElement?.querySelector(".name")?.textContent);
  const at = (await names()).indexOf((await focused()) ?? "");
  assert.ok(at >= drawn, `row ${at} of ${drawn}`);
  assert.equal(await focused(), events.at(-1 - at));
  await until("all of them", async () => {
    await wantOlder(page);
    return (await names()).length >= events.length;
  });
  assert.deepEqual(await names(), events.toReversed());
  await page.close();
});

test("a narrow screen shows all of it, light and dark can be read, and everything has a name", async () => {
  const [panic] = journal("-m", "real", "-e", "GUEST_PANICKED");
  const views = /** @type {const} */ ([
    ["fleet", "#/fleet", ".tile"],
    ["stream", "#/stream", ".record"],
    ["disk", machine("dying-disk"), ".disk"],
    ["machine", machine("real"), ".of-balloon"],
    ["event", `#/event/${panic.seq}`, ".near"],
  ]);
  const page = await openPage(context, "#/fleet");
  for (const [look, width, height, colours] of /** @type {const} */ ([["light", 1280, 900, "light"], ["dark", 1280, 900, "dark"], ["narrow", 360, 740, "light"], ["narrow-dark", 360, 740, "dark"]])) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: colours });
    for (const [name, address, has] of views) {
      await show(page, address);
      await page.locator(has).first().waitFor();
      await live(page);
      await page.screenshot({ path: path.join(host.pictures, `${name}-${look}.png`) });
      assert.equal(await scrollsSideways(page), false, `${name} ${look}`);
      assert.deepEqual(await hardToRead(page), [], `${name} ${look}`);
      assert.deepEqual(await nameless(page), [], `${name} ${look}`);
      assert.deepEqual(await violations(page), [], `${name} ${look}`);
    }
  }
  // The button counts more than the system, also after a reload.
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByRole("button", { name: "Theme: system" }).click();
  await page.getByRole("button", { name: "Theme: light" }).click();
  assert.notEqual(await ground(), light);
  await page.reload();
  assert.notEqual(await ground(), light);
  await page.getByRole("button", { name: "Theme: dark" }).click();
  await page.close();
});

test("a daemon that is killed and comes back: the page says so and goes on by itself, and nothing is missed or twice", async () => {
  const page = await openPage(context, "#/stream?machine=steady&kind=event");
  await live(page);
  const was = last();
  away.meant = true;
  await killDaemon();
  await page.locator('#status[data-state="lost"]').waitFor();
  assert.match((await page.locator("#status").textContent()) ?? "", /by itself/);
  await page.screenshot({ path: path.join(host.pictures, "lost.png") });
  startDaemon();
  await live(page);
  away.meant = false;
  await until("steady is attached again", () => journal("-m", "steady").some((record) => record.kind === "state" && record.seq > was));
  emit(host.steady, "WATCHDOG", { action: "none" });
  await page.locator(".record .name", { hasText: "WATCHDOG" }).first().waitFor();
  const all = journal("-m", "steady").filter((record) => record.kind === "event");
  assert.equal(all.at(-1).event, "WATCHDOG");
  const page2 = await openPage(context, "#/stream?machine=steady&kind=event&since=-6h");
  await page2.locator(".record").first().waitFor();
  const newest = (await sentences(page2)).slice(0, 10);
  await until("both show the same", async () => JSON.stringify((await sentences(page)).slice(0, 10)) === JSON.stringify(newest));
  assert.equal(newest[0], all.at(-1).summary);
  await page2.close();
  await page.close();
});

test("nothing was complained of on the console", () => {
  assert.deepEqual(complaints, []);
});
