// Starts a gateway with the simulator and a headless Chromium, serves the page from an origin of its own, and lets it tell its story.
// Afterwards the same browser opens the API's page. `node run.mjs PATH-OF-THE-GATEWAY`
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";

import { chromium } from "playwright-core";

const KEY = "wa_0123456789abcdefghijklmnopqrstuv";
const folder = await mkdtemp(join(tmpdir(), "gateway-browser-"));
const bundle = await readFile(new URL("gen/story.js", import.meta.url));

const site = createServer((request, response) => {
  const script = request.url === "/story.js";
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? bundle : '<!doctype html><title>A client</title><script src="story.js"></script>');
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${site.address().port}`;

const gateway = spawn(
  process.argv[2],
  ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0", "--data-dir", join(folder, "data")],
  {
    env: { ...process.env, WAGW_BOOTSTRAP_API_KEY: KEY, WAGW_CORS_ORIGINS: origin, WAGW_LOG: "info", WAGW_LOG_FORMAT: "json" },
    stdio: ["ignore", "ignore", "pipe"],
  },
);
const log = [];
const base = await new Promise((resolve, reject) => {
  gateway.once("exit", (code) => reject(new Error(`the gateway ended with ${code}\n${log.join("\n")}`)));
  createInterface({ input: gateway.stderr }).on("line", (line) => {
    log.push(line);
    const { message, address } = line.startsWith("{") ? JSON.parse(line) : {};
    if (message?.startsWith("serving")) resolve(`http://${address}`);
  });
});

let browser;
try {
  browser = await chromium.launchPersistentContext(join(folder, "profile"), {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(origin);
  const seen = await page.evaluate(([base, key]) => globalThis.story(base, key), [base, KEY]);
  console.log(`sessions and a pairing over gRPC-Web: ${seen.join(", ")}`);
  assert.deepEqual([seen[0], seen.at(-2), seen.at(-1)], ["listed", "paired", "deleted"]);
  assert.ok(seen.includes("qr"));
  assert.deepEqual(complaints, []);

  // The API's page: drawn under its own strict policy, asks nobody else, and calls with a key.
  const asked = new Set();
  page.on("request", (request) => asked.add(new URL(request.url()).origin));
  await page.goto(`${base}/docs`);
  await page.getByRole("button", { name: "Authorize" }).click();
  const bearer = page.locator(".auth-container").filter({ has: page.getByLabel("auth-bearer-value") });
  await bearer.getByLabel("auth-bearer-value").fill(KEY);
  await bearer.getByLabel("Apply credentials").click();
  await page.getByRole("button", { name: "Close" }).first().click();
  await page.locator("#operations-SessionService-listSessions .opblock-summary-control").click();
  await page.getByRole("button", { name: "Try it out" }).click();
  const answered = page.waitForResponse((response) => response.url() === `${base}/api/v1/sessions`);
  await page.getByRole("button", { name: "Execute" }).click();
  const answer = await answered;
  assert.equal(answer.status(), 200);
  assert.deepEqual(await answer.json(), { data: [], nextCursor: null });
  assert.deepEqual([...asked].filter((one) => one !== base && one !== "null"), []);
  assert.deepEqual(complaints, []);
  console.log("the API's page at /docs calls with a key, within its policy");
} finally {
  await browser?.close();
  site.close();
  gateway.removeAllListeners("exit");
  gateway.kill("SIGTERM");
  await new Promise((resolve) => (gateway.exitCode === null ? gateway.once("exit", resolve) : resolve()));
  await rm(folder, { recursive: true, force: true });
}
