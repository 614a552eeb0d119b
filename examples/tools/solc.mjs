#!/usr/bin/env node
// solc's command line for forge, on the compiler from npm: `--version` and `--standard-json`.
// With a native solc installed, name that instead.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import solc from "solc";

const args = process.argv.slice(2);
if (args.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (args.includes("--standard-json")) {
  const at = args.indexOf("--base-path");
  const base = at < 0 ? "." : args[at + 1];
  const readImport = (path) => {
    try {
      return { contents: readFileSync(join(base, path), "utf8") };
    } catch (error) {
      return { error: error.message };
    }
  };
  process.stdout.write(solc.compile(readFileSync(0, "utf8"), { import: readImport }));
} else {
  console.error(`solc.mjs: only --version and --standard-json, got: ${args.join(" ")}`);
  process.exit(1);
}
