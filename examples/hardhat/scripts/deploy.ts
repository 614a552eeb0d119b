// Deploys Counter with Hardhat's ethers plugin, uses it, and checks what came out.
import { network } from "hardhat";

function same(what: string, got: unknown, expected: unknown) {
  if (got !== expected) throw new Error(`${what}: expected ${expected}, got ${got}`);
  console.log(`ok: ${what} = ${got}`);
}

const { ethers } = await network.create();
const [signer] = await ethers.getSigners();
console.log(`account ${signer.address}, block ${await ethers.provider.getBlockNumber()}`);

const counter = await ethers.deployContract("Counter", [40], { value: 0 });
await counter.waitForDeployment();
same("number", await counter.number(), 40n);

const receipt = await (await counter.add(2)).wait();
same("status", receipt!.status, 1);
same("number", await counter.number(), 42n);
const events = await counter.queryFilter(counter.filters.Added(signer.address), receipt!.blockNumber);
same("events", events.length, 1);
const code = await ethers.provider.getCode(await counter.getAddress());
same("code is there", code.length > 2, true);

const data = await counter.add.staticCall(1001).then(() => "0x", (error) => error.data as string);
same("error of add(1001)", counter.interface.parseError(data)?.name, "TooMuch");
console.log("done");
