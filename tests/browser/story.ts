// What runs in the browser's page: sessions and a pairing over gRPC-Web, by the client that is generated from the contract.
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { PairingService } from "./gen/whatsapp/gateway/v1/pairing_pb";
import { SessionService, SessionStatus } from "./gen/whatsapp/gateway/v1/session_pb";
import { SandboxService } from "./gen/whatsapp/sandbox/v1/sandbox_pb";

const PHONE = "6281200000001";

function expect(what: string, holds: boolean): asserts holds {
  if (!holds) throw new Error(`not so: ${what}`);
}

/** Drives the gateway at `base`; answers what it saw, or throws. */
async function story(base: string, key: string): Promise<string[]> {
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = createGrpcWebTransport({ baseUrl: base, interceptors: [withKey] });
  const sessions = createClient(SessionService, transport);
  const pairing = createClient(PairingService, transport);
  const sandbox = createClient(SandboxService, transport);
  const seen: string[] = [];

  const made = await sessions.createSession({ label: "In a browser", start: false });
  expect("a new session is stopped", made.status === SessionStatus.STOPPED);
  const { data } = await sessions.listSessions({});
  expect("the list has it", data.length === 1 && data[0].id === made.id && data[0].label === "In a browser");
  seen.push("listed");

  // The stream begins before the pairing does, and ends by itself when the number is attached.
  await sandbox.createPhone({ phoneNumber: PHONE, pushName: "Shop" });
  let scanned = false;
  for await (const { update } of pairing.watchPairing({ session: made.id })) {
    if (update.case !== seen.at(-1) && update.case) seen.push(update.case);
    if (update.case === "status" && update.value === SessionStatus.STOPPED) await sessions.startSession({ session: made.id });
    if (update.case === "qr" && !scanned) {
      scanned = true;
      await sandbox.scanQr({ phoneNumber: PHONE, code: update.value.code });
    }
    if (update.case === "paired") expect("it is the phone that scanned", update.value.phoneNumber === PHONE);
    expect("the pairing goes well", update.case !== "failed");
  }

  const changed = await sessions.updateSession({ session: made.id, ratePerMin: 7 });
  expect("a setting changes, the others stay", changed.ratePerMin === 7 && changed.label === "In a browser");
  await sessions.logoutSession({ session: made.id });
  await sessions.deleteSession({ session: made.id });
  const error = await sessions.getSession({ session: made.id }).then(
    () => undefined,
    (error: unknown) => ConnectError.from(error),
  );
  expect("what is deleted is not found", error?.code === Code.NotFound && error.rawMessage === "session not found");
  expect("errors have their details here too", error.details.length > 0);
  seen.push("deleted");
  return seen;
}

Object.assign(globalThis, { story });
