// ethers: deploy, send, query and decode; a contract event over WebSocket.
import { Contract, ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, isError, parseEther } from "ethers";
import { compile } from "../tools/compile.mjs";
import { fail, holds, run, same, setting, within } from "../tools/check.mjs";

run(async () => {
  // ethers answers a repeated request from memory for 250 ms, nonces too. Blocks here can be faster than that, and a
  // remembered nonce is refused as too low.
  const provider = new JsonRpcProvider(setting("RPC_URL"), undefined, { cacheTimeout: -1 });
  const socket = new WebSocketProvider(setting("WS_URL"));
  socket.websocket.onerror = (error) => fail(`WebSocket ${setting("WS_URL")}: ${error.message}`);
  const wallet = new Wallet(setting("PRIVATE_KEY"), provider);
  const network = await within(10, "the chain id", provider.getNetwork());
  same("chain id over WebSocket", (await socket.getNetwork()).chainId, network.chainId);

  const friend = Wallet.createRandom().address;
  const sent = await wallet.sendTransaction({ to: friend, value: parseEther("0.00012345") });
  const transfer = await within(60, "the transfer", sent.wait());
  same("status of the transfer", transfer.status, 1);
  same("balance of the friend", await provider.getBalance(friend), parseEther("0.00012345"));

  const { abi, bytecode } = compile("Counter");
  const counter = await new ContractFactory(abi, bytecode, wallet).deploy(40);
  await within(60, "the deployment", counter.waitForDeployment());
  same("number", await counter.number(), 40n);

  const address = await counter.getAddress();
  const heard = new Promise((resolve) => {
    new Contract(address, abi, socket).once("Added", (by, amount, number) => resolve({ by, amount, number }));
  });
  // Answered after the subscription, which went out before on the same connection.
  await socket.getBlockNumber();
  const receipt = await within(60, "add(2)", (await counter.add(2)).wait());
  const event = await within(60, "the event", heard);
  same("event: by", event.by, wallet.address);
  same("event: number", event.number, 42n);

  const logs = await counter.queryFilter(counter.filters.Added(wallet.address), receipt.blockNumber, receipt.blockNumber);
  same("logs in the block", logs.length, 1);
  same("logged amount", logs[0].args.amount, 2n);
  same("transaction of the log", logs[0].transactionHash, receipt.hash);

  const error = await counter.add(1001).then(() => fail("add(1001) must revert"), (reason) => reason);
  holds("add(1001) is refused before it is sent", isError(error, "CALL_EXCEPTION"));
  const reason = counter.interface.parseError(error.data);
  same("revert", reason?.name, "TooMuch");
  same("revert: maximum", reason.args.maximum, 1000n);

  const block = await provider.getBlock(receipt.blockNumber, true);
  holds("the block has the transaction", block.prefetchedTransactions.some(({ hash }) => hash === receipt.hash));
  await socket.destroy();
});
