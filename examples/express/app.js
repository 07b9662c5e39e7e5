// An Express application that lets the Assure Agent verify a customer with a hosted capture flow.
//
//     npm install
//     API_TOKEN=... SINK_SECRET=... SPECS_DIR=specs npm start
//
// API_TOKEN and SINK_SECRET have the values of ASSURE_AGENT_API_TOKEN and ASSURE_AGENT_SINK_SECRET. The agent sends its
// events here with ASSURE_AGENT_SINK_URLS=http://127.0.0.1:8080/events.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import express from "express";

const { API_TOKEN, SINK_SECRET, AGENT_URL = "http://127.0.0.1:9464", SPECS_DIR = "specs", PORT = "8080" } = process.env;
const PUBLIC_URL = process.env.PUBLIC_URL ?? `http://127.0.0.1:${PORT}`;
const TOLERANCE = 300; // seconds between the timestamp of an event and now
if (!API_TOKEN || !SINK_SECRET) throw new Error("Set API_TOKEN and SINK_SECRET.");

const app = express();
const outcomes = new Map(); // by name; use your database
const handled = new Set(); // ids of events; use your database

// Write a request file. Its name has no personal data, because names are in logs and URLs.
app.post("/verifications", async (_, response) => {
  const name = `customer-${randomBytes(8).toString("hex")}`;
  const capture = { redirectUrl: `${PUBLIC_URL}/returned/${name}` };
  await writeRequest(name, { processType: "document", capture });
  response.status(202).json({ name });
});

// Write to a temporary name, fsync, rename, fsync the folder. JSON is valid YAML.
async function writeRequest(name, spec) {
  const document = { apiVersion: "assure-agent/v1", kind: "VerificationRequest", metadata: { name }, spec };
  const temporary = join(SPECS_DIR, `.${name}.tmp`); // in the same folder, and without the ending .yaml
  const file = await open(temporary, "wx");
  await file.writeFile(JSON.stringify(document, null, 2));
  await file.sync();
  await file.close();
  await rename(temporary, join(SPECS_DIR, `${name}.yaml`));
  const folder = await open(SPECS_DIR);
  await folder.sync();
  await folder.close();
}

// Send the end user to the capture page as soon as its link exists. The link is a secret: do not store it.
app.get("/verifications/:name", async (request, response) => {
  const found = await readRequest(request.params.name);
  if (found?.link) response.redirect(303, found.link);
  else response.status(202).set("Refresh", "1").send("Please wait.");
});

// The request as the agent knows it. Null until the agent has read the file, and while the agent is down.
async function readRequest(name) {
  const url = `${AGENT_URL}/api/requests/${encodeURIComponent(name)}`;
  const answer = await fetch(url, { headers: { Authorization: `Bearer ${API_TOKEN}` } }).catch(() => null);
  if (answer === null || answer.status === 404) return null;
  if (!answer.ok) throw new Error(`The agent answered ${answer.status}.`);
  return answer.json();
}

// The end user is back. Do not trust the query: anybody can send it. Wait for the event `settled`.
app.get("/returned/:name", (request, response) => {
  const { name } = request.params;
  response.json({ message: "Thank you", name, outcome: outcomes.get(name) ?? null });
});

// Receive an event of the agent. Handle each id once, and answer within ten seconds.
app.post("/events", express.raw({ type: "application/cloudevents+json" }), (request, response) => {
  if (!isSigned(request)) return response.sendStatus(401);
  const event = JSON.parse(request.body);
  if (!handled.has(event.id) && event.type === "example.assure-agent.settled") {
    outcomes.set(event.data.name, event.data.outcome);
  }
  handled.add(event.id);
  return response.sendStatus(204);
});

// Verify a signature of Standard Webhooks. There are two while the key rotates.
function isSigned(request) {
  const id = request.get("webhook-id");
  const at = request.get("webhook-timestamp");
  if (!Buffer.isBuffer(request.body) || !(Math.abs(Date.now() / 1000 - Number(at)) <= TOLERANCE)) return false;
  const digest = createHmac("sha256", SINK_SECRET).update(`${id}.${at}.`).update(request.body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  const signatures = (request.get("webhook-signature") ?? "").split(" ").map((one) => Buffer.from(one));
  return signatures.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
}

app.listen(Number(PORT), "127.0.0.1");
