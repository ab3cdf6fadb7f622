// SPDX-License-Identifier: Apache-2.0
// The npm package `consul` against muster: node npm_consul.js MODULES PORT PORT. Ends with 0 when everything came as the package expects.
"use strict";
const assert = require("assert");
const path = require("path");
const Consul = require(path.join(process.argv[2], "consul"));

async function main() {
  const one = new Consul({ host: "127.0.0.1", port: process.argv[3] });
  const two = new Consul({ host: "127.0.0.1", port: process.argv[4] });

  assert.strictEqual(await one.kv.set("npm/a", "hello"), true);
  assert.strictEqual((await two.kv.get({ key: "npm/a", consistent: true })).Value, "hello");
  assert.strictEqual(await two.kv.get("npm/none"), undefined);
  assert.deepStrictEqual(await two.kv.keys({ key: "npm/", consistent: true }), ["npm/a"]);

  const changed = new Promise((resolve, reject) => {
    const watch = two.watch({ method: two.kv.get, options: { key: "npm/a" } });
    watch.on("change", (data) => {
      if (data.Value === "hello") one.kv.set("npm/a", "again").catch(reject);
      if (data.Value === "again") { watch.end(); resolve(); }
    });
    watch.on("error", reject);
  });
  await changed;

  const session = await one.session.create({ ttl: "15s", behavior: "delete", lockdelay: "1ms" });
  assert.strictEqual(await one.kv.set({ key: "npm/lock", value: "1", acquire: session.ID }), true);
  assert.ok(!(await two.kv.set({ key: "npm/lock", value: "2", acquire: (await two.session.create({ ttl: "15s" })).ID })));
  await one.session.renew(session.ID);
  await one.session.destroy(session.ID);
  assert.strictEqual(await two.kv.get({ key: "npm/lock", consistent: true }), undefined);

  await one.agent.service.register({ name: "npm-web", id: "npm-1", port: 80, tags: ["v1"], check: { ttl: "60s", name: "npm-ttl" } });
  assert.ok((await two.agent.services())["npm-1"]);
  assert.strictEqual((await two.health.service({ service: "npm-web", passing: true, consistent: true })).length, 0);
  await two.agent.check.pass("service:npm-1");
  const seen = await one.health.service({ service: "npm-web", passing: true, consistent: true });
  assert.strictEqual(seen[0].Service.Port, 80);
  assert.deepStrictEqual((await one.catalog.services())["npm-web"], ["v1"]);
  await one.agent.service.deregister("npm-1");
  assert.deepStrictEqual(await one.catalog.service.nodes({ service: "npm-web", consistent: true }), []);

  const results = await one.transaction.create([{ KV: { Verb: "set", Key: "npm/t", Value: Buffer.from("x").toString("base64") } }, { KV: { Verb: "get", Key: "npm/t" } }]);
  assert.strictEqual(results.Results.length, 2);
  await one.event.fire("npm-event", "payload");
  assert.ok((await two.event.list("npm-event")).length >= 1);
  assert.ok((await one.agent.members()).length === 3 && (await one.status.leader()).includes(":"));
  await one.kv.del({ key: "npm/", recurse: true });
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
