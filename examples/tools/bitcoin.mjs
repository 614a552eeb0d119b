// Bitcoin Core's RPC, and what a contract on Bitsect needs of a transaction: its bytes without witness and
// its merkle path. Hashes are hex in internal byte order unless a name says "shown".
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** Calls Bitcoin Core; `url` may carry user and password, else the cookie file does. */
export function bitcoinRpc(url, cookie) {
  const { origin, username, password } = new URL(url);
  const login = username
    ? `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    : readFileSync(cookie, "utf8").trim();
  return async (method, ...params) => {
    const response = await fetch(origin, {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(login).toString("base64")}` },
      body: JSON.stringify({ jsonrpc: "2.0", id: 0, method, params }),
    });
    if (response.status === 401) throw new Error(`Bitcoin Core refuses the login for ${method}`);
    const { result, error } = await response.json();
    if (error) throw new Error(`Bitcoin Core: ${method}: ${error.message}`);
    return result;
  };
}

/** Turns a hash from how Bitcoin Core shows it into internal byte order, and back. */
export function reversed(hex) {
  return Buffer.from(hex.replace(/^0x/, ""), "hex").reverse().toString("hex");
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest();

/** The siblings of a transaction, from the leaf to the root, as a contract takes them. */
export function merklePath(shownTxids, index) {
  let level = shownTxids.map((txid) => Buffer.from(reversed(txid), "hex"));
  const path = [];
  for (let at = index; level.length > 1; at >>= 1) {
    // An odd level repeats its last node.
    if (level.length % 2) level.push(level.at(-1));
    path.push(`0x${level[at ^ 1].toString("hex")}`);
    level = level.flatMap((node, i) => (i % 2 ? [sha256(sha256(Buffer.concat([level[i - 1], node])))] : []));
  }
  return path;
}

/** A transaction's serialisation without witness: what its id is the hash of. */
export function withoutWitness(hex) {
  const bytes = Buffer.from(hex, "hex");
  // Marker and flag of BIP-0144, where a count of inputs would be.
  if (bytes[4] !== 0 || bytes[5] !== 1) return `0x${hex}`;
  let offset = 6;
  const compactSize = () => {
    const first = bytes[offset++];
    if (first < 0xfd) return first;
    const size = first === 0xfd ? 2 : 4;
    offset += size;
    return bytes.readUIntLE(offset - size, size);
  };
  for (let inputs = compactSize(); inputs > 0; inputs--) {
    offset += 36;
    const size = compactSize();
    offset += size + 4;
  }
  for (let outputs = compactSize(); outputs > 0; outputs--) {
    offset += 8;
    const size = compactSize();
    offset += size;
  }
  const parts = [bytes.subarray(0, 4), bytes.subarray(6, offset), bytes.subarray(-4)];
  return `0x${Buffer.concat(parts).toString("hex")}`;
}
