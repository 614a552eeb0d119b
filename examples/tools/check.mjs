// What the JavaScript examples share: settings from the environment, and checks that end the example.

/** A setting from the environment; ends the example when it is missing. */
export function setting(name) {
  const value = process.env[name];
  if (!value) fail(`${name} is not set (see examples/README.md)`);
  return value;
}

/** Ends the example with a message and exit code 1. */
export function fail(message) {
  console.error(`FAILED: ${message}`);
  process.exit(1);
}

/** Ends the example unless `got` is `expected`. */
export function same(what, got, expected) {
  if (got !== expected) fail(`${what}: expected ${expected}, got ${got}`);
  console.log(`ok: ${what} = ${got}`);
}

/** Ends the example unless the condition holds. */
export function holds(what, condition) {
  if (!condition) fail(what);
  console.log(`ok: ${what}`);
}

/** Waits for a promise; ends the example when that takes longer than `seconds`. */
export async function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs an example: any error ends it with exit code 1. */
export function run(main) {
  main().then(
    () => {
      console.log("done");
      process.exit(0);
    },
    (error) => fail(error.stack ?? error),
  );
}
