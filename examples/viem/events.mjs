// viem: a contract's events and new blocks over WebSocket, while transactions go out over HTTP.
import {
  createPublicClient, createWalletClient, defineChain, http, parseEther, webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { compile } from "../tools/compile.mjs";
import { fail, holds, run, same, setting, within } from "../tools/check.mjs";

const EVENTS = 5;

run(async () => {
  const rpcUrl = setting("RPC_URL");
  const transport = http(rpcUrl);
  const account = privateKeyToAccount(setting("PRIVATE_KEY"));
  const chain = defineChain({
    id: await createPublicClient({ transport }).getChainId(),
    name: "Bitsect",
    nativeCurrency: { name: "Bitcoin", symbol: "BTC", decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl], webSocket: [setting("WS_URL")] } },
    contracts: { multicall3: { address: "0xcA11bde05977b3631167028862bE2a173976CA11" } },
  });
  const http_ = createPublicClient({ chain, transport });
  const socket = createPublicClient({ chain, transport: webSocket(setting("WS_URL")) });
  const wallet = createWalletClient({ account, chain, transport });

  const { abi, bytecode } = compile("Counter");
  const deployed = await within(60, "the deployment", http_.waitForTransactionReceipt({
    hash: await wallet.deployContract({ abi, bytecode, args: [0n] }),
  }));
  same("status of the deployment", deployed.status, "success");
  const counter = { address: deployed.contractAddress, abi };

  const events = [];
  const heads = [];
  let allEvents;
  const seen = new Promise((resolve) => (allEvents = resolve));
  const unwatchEvents = socket.watchContractEvent({
    ...counter,
    eventName: "Added",
    onLogs: (logs) => {
      events.push(...logs);
      if (events.length >= EVENTS) allEvents();
    },
    onError: (error) => fail(`subscription to logs: ${error.message}`),
  });
  const unwatchBlocks = socket.watchBlocks({
    onBlock: (block) => heads.push(block),
    onError: (error) => fail(`subscription to blocks: ${error.message}`),
  });
  // The node answers requests of one connection in order: once this one is answered, the two
  // subscriptions are there.
  await socket.getBlockNumber();

  const receipts = [];
  for (let i = 1n; i <= BigInt(EVENTS); i++) {
    const hash = await wallet.writeContract({ ...counter, functionName: "add", args: [i] });
    receipts.push(await within(60, "a receipt", http_.waitForTransactionReceipt({ hash })));
  }
  await within(60, `${EVENTS} events`, seen);
  unwatchEvents();
  unwatchBlocks();

  same("events", events.length, EVENTS);
  events.forEach((event, i) => {
    same(`event ${i}: amount`, event.args.amount, BigInt(i + 1));
    same(`event ${i}: transaction`, event.transactionHash, receipts[i].transactionHash);
    same(`event ${i}: block`, event.blockHash, receipts[i].blockHash);
  });
  same("number", await http_.readContract({ ...counter, functionName: "number" }), 15n);
  holds(`${heads.length} new blocks were announced`, heads.length > 0);
  for (let i = 1; i < heads.length; i++) {
    if (heads[i].parentHash !== heads[i - 1].hash) fail(`announced block ${heads[i].number} has a gap before it`);
  }
  same("the newest announced block's hash", heads.at(-1).hash,
    (await http_.getBlock({ blockNumber: heads.at(-1).number })).hash);

  // A revert comes back decoded.
  const reverted = await http_
    .simulateContract({ ...counter, functionName: "add", args: [1001n], account })
    .then(() => fail("add(1001) must revert"), (error) => error);
  same("revert", reverted.walk((cause) => cause.data?.errorName)?.data.errorName, "TooMuch");

  // Several reads in one call, where the chain has Multicall3.
  if (await http_.getCode({ address: chain.contracts.multicall3.address })) {
    const [number, added] = await http_.multicall({
      allowFailure: false,
      contracts: [
        { ...counter, functionName: "number" },
        { ...counter, functionName: "addedBy", args: [account.address] },
      ],
    });
    same("number and sum by multicall", `${number} ${added}`, "15 15");
  }
  const before = await http_.getBalance({ address: counter.address });
  same("balance of the contract", before, parseEther("0"));
});
