import { createRequire } from "node:module";
import hardhatEthers from "@nomicfoundation/hardhat-ethers";
import { configVariable, defineConfig } from "hardhat/config";

export default defineConfig({
  plugins: [hardhatEthers],
  // The compiler from npm, so that nothing is downloaded. Without `path` Hardhat gets it by itself.
  solidity: {
    version: "0.8.37",
    path: createRequire(import.meta.url).resolve("solc/soljson.js"),
  },
  paths: { sources: "contracts", cache: process.env.HARDHAT_WORK + "/cache", artifacts: process.env.HARDHAT_WORK + "/artifacts" },
  networks: {
    bitsect: {
      type: "http",
      chainType: "l1",
      url: configVariable("RPC_URL"),
      accounts: [configVariable("PRIVATE_KEY")],
    },
  },
});
