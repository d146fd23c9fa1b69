// Starts a gateway with the simulator and a headless Chromium, serves the page from an origin of its own, and lets it tell its story.
// Afterwards the same browser opens the API's page. `node run.mjs PATH-OF-THE-GATEWAY`
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import assert from "node:assert/strict";

import { KEY, complaintsOf, withGateway } from "./start.mjs";

const bundle = await readFile(new URL("gen/story.js", import.meta.url));
const site = createServer((request, response) => {
  const script = request.url === "/story.js";
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? bundle : '<!doctype html><title>A client</title><script src="story.js"></script>');
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${site.address().port}`;

try {
  await withGateway(process.argv[2], { WAGW_CORS_ORIGINS: origin }, async ({ base, browser }) => {
    const page = await browser.newPage();
    const complaints = complaintsOf(page);
    await page.goto(origin);
    const seen = await page.evaluate(([base, key]) => globalThis.story(base, key), [base, KEY]);
    console.log(`sessions and a pairing over gRPC-Web: ${seen.join(", ")}`);
    assert.deepEqual([seen[0], seen.at(-2), seen.at(-1)], ["listed", "paired", "deleted"]);
    assert.ok(seen.includes("qr"));
    assert.deepEqual(complaints, []);

    // The API's page: drawn under its own strict policy, asks nobody else, and calls with a key. The browser reaches nobody else either.
    await browser.route((url) => url.origin !== base && url.protocol.startsWith("http"), (route) => route.abort());
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
    console.log("the API's page at /docs calls with a key, within its policy and without the network");
  });
} finally {
  site.close();
}
