// The status page: reads this node's JSON-RPC and nothing else. Everything is set as text, never as markup.
"use strict";

const REFRESH_MS = 2000; // as often as blocks come, about
const TIMEOUT_MS = 10000; // after which the node counts as not answering
const BATCHES = 8; // shown
const FORCED_STEPS = 32; // blocks without a batch that are stepped over in search of one
const HEADS = ["latest", "safe", "finalized"];

const at = (id) => document.getElementById(id);
const put = (id, text) => { at(id).textContent = text; };

/** Calls methods together; gives their results in order. An error of one is thrown. */
async function call(...calls) {
  const requests = calls.map(([method, ...params], id) => ({ jsonrpc: "2.0", id, method, params }));
  const response = await fetch(location.pathname, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(requests),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const answers = await response.json();
  return requests.map(({ id, method }) => {
    const answer = answers.find((answer) => answer.id === id);
    if (answer?.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer?.result;
  });
}

const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function age(timestamp) {
  const seconds = Math.max(0, Math.floor(Date.now() / 1000 - timestamp));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function cells(row, texts) {
  texts.forEach(([text, kind], index) => {
    const cell = row.cells[index] ?? row.insertCell();
    cell.textContent = text;
    if (kind) cell.className = kind;
    if (kind === "hash") cell.title = text;
  });
}

function warn(id, text) {
  at(id).hidden = !text;
  put(id, text ?? "");
}

function showStatus(status, version, mempool) {
  put("role", status.sequencing ? "sequencer" : "verifier");
  put("chain", version.chainId);
  put("client", version.client);
  document.title = `${status.latest.number} · Bitsect ${status.sequencing ? "sequencer" : "verifier"}`;
  HEADS.forEach((name, index) => {
    const { number, hash, timestamp } = status[name];
    cells(at("heads").rows[index], [[name], [number, "n"], [age(timestamp), "n"], [hash, "hash"]]);
  });
  const waiting = status.latest.number - status.safe.number;
  put("waiting", waiting > 0 ? `${count(waiting, "block waits", "blocks wait")} for Bitcoin` : "every block is in Bitcoin");
  const { height, hash } = status.l1Processed;
  put("l1-tip", status.l1Tip ?? "Bitcoin Core does not answer");
  put("l1-processed", height);
  at("l1-processed").title = hash;
  put("l1-lag", status.l1Tip === null ? "unknown" : count(Math.max(0, status.l1Tip - height), "block", "blocks"));
  put("l1-origin", status.latest.l1Origin.height);
  put("units", status.units);
  put("chain-state", status.chainState);
  at("chain-state").title = status.chainState;
  at("mempool").hidden = !status.sequencing;
  put("pending", Number(mempool.pending));
  put("queued", Number(mempool.queued));
  warn("alarm", status.alarm);
}

/** Finds the newest batches, from the safe block down. */
async function findBatches(safe) {
  const batches = [];
  let block = safe;
  for (let steps = 0; block > 0 && batches.length < BATCHES && steps < BATCHES + FORCED_STEPS; steps += 1) {
    const [batch] = await call(["rollup_batchOf", block]);
    if (batch) batches.push(batch);
    // What no batch holds was made of Bitcoin alone.
    block = batch ? batch.firstBlock - 1 : block - 1;
  }
  return batches;
}

function showBatches(batches) {
  if (batches.length === 0) return;
  at("batches").replaceChildren(...batches.map((batch) => {
    const row = document.createElement("tr");
    cells(row, [
      [batch.lastBlock, "n"], [batch.l1Height, "n"], [batch.confirmations ?? "?", "n"],
      [batch.commitTxid, "hash"],
    ]);
    row.title = `blocks ${batch.firstBlock} to ${batch.lastBlock}`;
    return row;
  }));
}

let shown = "";

async function refresh() {
  try {
    const [status, version, mempool] = await call(["rollup_syncStatus"], ["rollup_version"], ["txpool_status"]);
    showStatus(status, version, mempool);
    const state = JSON.stringify([status.safe, status.l1Tip]);
    if (state !== shown) {
      showBatches(await findBatches(status.safe.number));
      shown = state;
    }
    put("read", new Date().toLocaleTimeString());
    warn("fault", null);
    document.body.classList.remove("stale");
  } catch (error) {
    warn("fault", `The node does not answer (${error.message}). What is shown below is old.`);
    document.body.classList.add("stale");
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
