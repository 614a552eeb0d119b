// A contract that checks Bitcoin: Invoice is settled by showing a Bitcoin transaction and its merkle path.
// The system contract BitcoinBlocks knows the blocks; no oracle and no signature of anyone is needed.
import { createPublicClient, createWalletClient, defineChain, http, parseEventLogs } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { bitcoinRpc, merklePath, reversed, withoutWitness } from "../tools/bitcoin.mjs";
import { compile } from "../tools/compile.mjs";
import { holds, run, same, setting, within } from "../tools/check.mjs";

const BITCOIN_BLOCKS = "0x4200000000000000000000000000000000000001";
/** How far back to look for a block with several transactions. */
const LOOK_BACK = 50;

run(async () => {
  const rpcUrl = setting("RPC_URL");
  const transport = http(rpcUrl);
  const chain = defineChain({
    id: await createPublicClient({ transport }).getChainId(),
    name: "Bitsect",
    nativeCurrency: { name: "Bitcoin", symbol: "BTC", decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  });
  const client = createPublicClient({ chain, transport });
  const account = privateKeyToAccount(setting("PRIVATE_KEY"));
  const wallet = createWalletClient({ account, chain, transport });
  const bitcoinUrl = setting("BITCOIN_RPC_URL");
  const bitcoin = bitcoinRpc(bitcoinUrl, new URL(bitcoinUrl).username ? undefined : setting("BITCOIN_COOKIE"));

  const blocks = { address: BITCOIN_BLOCKS, abi: compile("IBitcoinBlocks").abi };
  const newest = await client.readContract({ ...blocks, functionName: "height" });
  const block = await fullestBlock(client, bitcoin, blocks, newest);
  const origin = await client.readContract({ ...blocks, functionName: "blockAt", args: [block.height] });
  same("hash of the Bitcoin block", origin.hash, `0x${reversed(block.hash)}`);
  same("its merkle root", origin.merkleRoot, `0x${reversed(block.merkleroot)}`);

  // The last transaction plays the payment.
  const index = block.tx.length - 1;
  const payment = await bitcoin("getrawtransaction", block.tx[index], true, block.hash);
  const output = payment.vout[0];
  const sats = BigInt(Math.round(output.value * 1e8));
  const script = `0x${output.scriptPubKey.hex}`;
  console.log(`payment ${payment.txid}, transaction ${index} of ${block.tx.length} in block ${block.height}`);

  const { abi, bytecode } = compile("Invoice");
  const deploy = async (...args) => {
    const hash = await wallet.deployContract({ abi, bytecode, args });
    const receipt = await within(60, "the deployment", client.waitForTransactionReceipt({ hash }));
    return { address: receipt.contractAddress, abi };
  };
  const invoice = await deploy(script, sats, 1);
  const raw = withoutWitness(payment.hex);
  const path = merklePath(block.tx, index);
  const proof = [raw, 0n, block.height, BigInt(index), path];
  const refusal = (contract, args) =>
    client.simulateContract({ ...contract, functionName: "settle", args, account }).then(
      () => "none",
      (error) => error.walk((cause) => cause.data?.errorName)?.data.errorName ?? error.message,
    );

  // What is not the payment settles nothing.
  const changed = raw.slice(0, -1) + (raw.endsWith("0") ? "1" : "0");
  same("refusal of a changed transaction", await refusal(invoice, proof.with(0, changed)), "NotInBitcoin");
  same("refusal of another place", await refusal(invoice, proof.with(3, BigInt(index + 1))), "NotInBitcoin");
  same("refusal of a longer path", await refusal(invoice, proof.with(4, [...path, raw.slice(0, 66)])), "NotInBitcoin");
  same("refusal of a missing output", await refusal(invoice, proof.with(1, 99n)), "NoSuchOutput");
  same("refusal of a block to come", await refusal(invoice, proof.with(2, 0xffffffff)), "TooFewConfirmations");
  const dearer = await deploy(script, sats + 1n, 1);
  same("refusal of too little", await refusal(dearer, proof), "TooLittle");

  const hash = await wallet.writeContract({ ...invoice, functionName: "settle", args: proof });
  const receipt = await within(60, "the settlement", client.waitForTransactionReceipt({ hash }));
  same("status of the settlement", receipt.status, "success");
  const [event] = parseEventLogs({ abi, logs: receipt.logs, eventName: "Settled" });
  same("settled value in sat", event.args.value, sats);
  same("settled by the block", event.args.blockHash, origin.hash);
  same("settledAt", await client.readContract({ ...invoice, functionName: "settledAt" }), block.height);
  same("refusal of the same proof again", await refusal(invoice, proof), "AlreadySettled");
});

/** The block with the most transactions among the newest ones that the chain knows. */
async function fullestBlock(client, bitcoin, blocks, newest) {
  let best;
  for (let height = newest; height > newest - LOOK_BACK && height >= 0; height--) {
    const known = await client
      .readContract({ ...blocks, functionName: "blockAt", args: [height] })
      .then(() => true, () => false);
    if (!known) break;
    const block = await bitcoin("getblock", await bitcoin("getblockhash", height), 1);
    if (!best || block.tx.length > best.tx.length) best = block;
  }
  holds(`the chain knows Bitcoin's block ${newest}`, best !== undefined);
  return best;
}
