// Compiles one contract of examples/contracts: `compile(name)`, or `node compile.mjs NAME` for its JSON.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const contracts = join(dirname(fileURLToPath(import.meta.url)), "../contracts");

export function compile(name) {
  const file = `${name}.sol`;
  const read = (path) => ({ contents: readFileSync(join(contracts, path), "utf8") });
  const input = {
    language: "Solidity",
    sources: { [file]: { content: read(file).contents } },
    settings: {
      optimizer: { enabled: true },
      outputSelection: { [file]: { [name]: ["abi", "evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
  const errors = (output.errors ?? []).filter((error) => error.severity === "error");
  if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
  const contract = output.contracts[file][name];
  return { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(JSON.stringify(compile(process.argv[2])));
}
