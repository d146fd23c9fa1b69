// A gateway with the simulator, and a headless Chromium, for as long as a test needs them.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

export const KEY = "wa_0123456789abcdefghijklmnopqrstuv";

/** Runs `test({base, browser})` and cleans up behind it, however it ends. */
export async function withGateway(program, settings, test) {
  const folder = await mkdtemp(join(tmpdir(), "gateway-browser-"));
  const gateway = spawn(
    program,
    ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0", "--data-dir", join(folder, "data")],
    {
      env: { ...process.env, WAGW_BOOTSTRAP_API_KEY: KEY, WAGW_LOG: "info", WAGW_LOG_FORMAT: "json", ...settings },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let browser;
  try {
    const log = [];
    const base = await new Promise((resolve, reject) => {
      gateway.once("exit", (code) => reject(new Error(`the gateway ended with ${code}\n${log.join("\n")}`)));
      createInterface({ input: gateway.stderr }).on("line", (line) => {
        log.push(line);
        const { message, address } = line.startsWith("{") ? JSON.parse(line) : {};
        if (message?.startsWith("serving")) resolve(`http://${address}`);
      });
    });
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
    await test({ base, browser });
  } finally {
    await browser?.close();
    gateway.removeAllListeners("exit");
    gateway.kill("SIGTERM");
    await new Promise((resolve) => (gateway.exitCode === null ? gateway.once("exit", resolve) : resolve()));
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a page complains of; nothing, when all is well. */
export function complaintsOf(page) {
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  return complaints;
}
