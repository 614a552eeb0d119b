// Compiles the predeploys with the pinned solc and writes artifacts/: the runtime code as hex (what genesis
// holds) and the ABI with the storage layout (what clients and reviewers read).
//
//   node build.mjs           writes the artefacts
//   node build.mjs --check   fails when they differ from what is checked in
//
// BITSECT_CLIENTS names the node_modules folder that has solc (`.ci/setup env` prints it).
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes("--check");

function fail(message) {
  console.error(`build.mjs: ${message}`);
  process.exit(1);
}

function loadSolc() {
  const clients = process.env.BITSECT_CLIENTS;
  if (!clients) fail('BITSECT_CLIENTS is not set: run eval "$(.ci/setup env)"');
  const solc = createRequire(join(clients, "package.json"))("solc");
  const versions = readFileSync(join(here, "../../.ci/versions"), "utf8");
  const pinned = versions.match(/^SOLC_VERSION=(.*)$/m)?.[1];
  if (!pinned || !solc.version().startsWith(`${pinned}+`)) {
    fail(`solc is ${solc.version()}, .ci/versions pins ${pinned}`);
  }
  return solc;
}

function compile(solc) {
  const names = readdirSync(join(here, "src")).filter((name) => name.endsWith(".sol")).sort();
  const sources = Object.fromEntries(
    names.map((name) => [name, { content: readFileSync(join(here, "src", name), "utf8") }]),
  );
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: "Solidity",
        sources,
        settings: {
          evmVersion: "osaka",
          optimizer: { enabled: true, runs: 200 },
          // No hash of the sources' text in the code: a comment does not change the bytes.
          metadata: { bytecodeHash: "none", appendCBOR: false },
          outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object", "storageLayout"] } },
        },
      }),
    ),
  );
  // A warning is a failure too: these contracts hold the bridge's money.
  for (const error of output.errors ?? []) console.error(error.formattedMessage);
  if (output.errors?.length) fail("solc reported the above");
  return names.map((file) => {
    const name = file.replace(/\.sol$/, "");
    return [name, output.contracts[file][name]];
  });
}

function artefacts(contracts) {
  const files = {};
  for (const [name, contract] of contracts) {
    const storage = contract.storageLayout.storage.map(({ label, slot, offset, type }) => ({
      label,
      slot,
      offset,
      type: contract.storageLayout.types[type].label,
    }));
    files[`${name}.hex`] = contract.evm.deployedBytecode.object;
    files[`${name}.json`] = `${JSON.stringify({ abi: contract.abi, storage }, null, 2)}\n`;
  }
  return files;
}

const folder = join(here, "artifacts");
const files = artefacts(compile(loadSolc()));
if (check) {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    if (!existsSync(path)) fail(`artifacts/${name} is missing: run node vm/contracts/build.mjs`);
    if (readFileSync(path, "utf8") !== content) {
      fail(`artifacts/${name} is not what the sources give: run node vm/contracts/build.mjs`);
    }
  }
  for (const name of readdirSync(folder)) if (!(name in files)) fail(`artifacts/${name} has no source`);
  console.log(`contracts: ${Object.keys(files).length} artefacts are what the sources give`);
} else {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  for (const name of Object.keys(files).filter((name) => name.endsWith(".hex"))) {
    console.log(`${name}: ${files[name].length / 2} bytes of code`);
  }
}
