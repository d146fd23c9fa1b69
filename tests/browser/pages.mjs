// The page of a pairing link in a real Chromium, through all its faces: QR code, typed code, passkey, comparison, end, failure.
// `node pages.mjs PATH-OF-THE-GATEWAY [FOLDER]`; with a folder, pictures of each face, light and dark, on a phone and on a desk.
import { join } from "node:path";
import assert from "node:assert/strict";

import { KEY, complaintsOf, withGateway } from "./start.mjs";

const [, , program, folder] = process.argv;
const SHOP = "6281200000001";

async function shoot(page, name) {
  await check(page, name);
  if (!folder) return;
  for (const [device, width, height] of [["phone", 390, 844], ["desk", 1280, 800]]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(folder, `${name}-${device}-${colorScheme}.png`), fullPage: true });
    }
  }
}

/** What everybody needs: names, contrast, and no scrolling sideways. */
async function check(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 1280]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      const found = await page.evaluate(() => {
        const problems = [];
        const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
        if (document.documentElement.scrollWidth > innerWidth) problems.push("scrolls sideways");
        for (const field of document.querySelectorAll("input, textarea"))
          if (shown(field) && field.labels.length === 0) problems.push(`#${field.id} has no label`);
        for (const button of document.querySelectorAll("button"))
          if (shown(button) && button.getBoundingClientRect().height < 44) problems.push(`#${button.id} is too small to touch`);
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const rgb = (color) => {
          canvas.clearRect(0, 0, 1, 1);
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data];
        };
        const light = (color) => {
          const [r, g, b] = rgb(color).map((part) => (part /= 255) && (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
          for (let one = element; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor;
            if (rgb(color)[3] === 255) return color;
          }
          return "white";
        };
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const element = walker.currentNode.parentElement;
          if (!walker.currentNode.data.trim() || !shown(element) || element.closest("noscript, [aria-hidden]")) continue;
          const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
          const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
          if (contrast < 4.5) problems.push(`${element.tagName} "${walker.currentNode.data.trim()}" has a contrast of ${contrast.toFixed(1)}`);
        }
        return problems;
      });
      assert.deepEqual(found, [], `${name}, ${colorScheme}, ${width} pixels`);
    }
  }
}

await withGateway(program, {}, async ({ base, browser }) => {
  const call = async (method, path, body) => {
    const answer = await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  };
  const link = async () => {
    const { id } = await call("POST", "/api/v1/sessions", { label: "Support line" });
    return { id, url: (await call("POST", `/api/v1/sessions/${id}/pairing-links`, {})).url };
  };
  await call("POST", "/sandbox/v1/phones", { phoneNumber: SHOP, pushName: "Shop" });
  await call("PATCH", `/sandbox/v1/phones/${SHOP}/passkey`, { required: true });
  const page = await browser.newPage();
  const complaints = complaintsOf(page);

  const { id, url } = await link();
  await page.goto(url);
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await shoot(page, "scan");
  // By the keyboard alone: the number, Tab, Enter.
  await page.getByLabel("Phone number with country code").fill("123");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "number" }).waitFor();
  await shoot(page, "wrong-number");
  await page.getByLabel("Phone number with country code").fill(`+${SHOP}`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("#code").filter({ hasText: /^\w{4}-\w{4}$/ }).waitFor();
  await page.getByRole("status").filter({ hasText: "Your code is" }).waitFor();
  await shoot(page, "code");

  await call("POST", `/sandbox/v1/phones/${SHOP}:enter-code`, { code: await page.locator("#code").textContent() });
  await page.getByRole("heading", { name: "Confirm with your passkey" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "passkey-title", "the place on the page moves along");
  await shoot(page, "passkey");
  // The passkey belongs to another site, and this browser says so; the answer of a tool that can use it is pasted.
  await page.getByRole("button", { name: "Use my passkey" }).click();
  await page.getByRole("alert").filter({ hasText: "cannot use" }).waitFor();
  const options = await page.getByLabel("WhatsApp's request").inputValue();
  await shoot(page, "passkey-elsewhere");
  complaints.length = 0;
  const { assertion } = await call("POST", `/sandbox/v1/phones/${SHOP}/passkey:sign`, { options });
  await page.getByLabel("The answer (JSON)").fill(assertion);
  await page.getByRole("button", { name: "Send the answer" }).click();
  await page.getByRole("heading", { name: "Compare the code" }).waitFor();
  const { code } = await call("GET", `/sandbox/v1/phones/${SHOP}/passkey`);
  assert.equal(await page.locator("#confirm-code").textContent(), code, "the page and the phone show the same");
  await shoot(page, "confirm");
  await page.getByRole("button", { name: "It is the same" }).click();
  await page.getByRole("heading", { name: "Linked" }).waitFor();
  assert.match(await page.locator("#paired-phone").textContent(), new RegExp(SHOP));
  await shoot(page, "linked");
  assert.equal((await call("GET", `/api/v1/sessions/${id}`)).phoneNumber, SHOP);

  const other = await link();
  await page.goto(other.url);
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await call("POST", `/api/v1/sessions/${other.id}:stop`, {});
  await page.getByRole("heading", { name: "That did not work" }).waitFor();
  await shoot(page, "failed");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await call("DELETE", `/api/v1/sessions/${other.id}`);
  await page.getByRole("heading", { name: /has ended|did not work/ }).waitFor();
  assert.deepEqual(complaints.filter((one) => !one.includes("404")), []);
  await page.goto(other.url);
  await shoot(page, "gone");
  console.log("the page of a pairing link: QR code, typed code, passkey, comparison, end, failure");
});
