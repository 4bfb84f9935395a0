// Runs named scenarios one after another and prints a line of JSON for each.

export const gateway = process.env.TOLLWAY_URL;
export const key = process.env.TOLLWAY_KEY;
export const question = { role: "user", content: "How far is the bridge?" };

export async function run(scenarios) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    let line;
    try {
      line = { name, got: await scenario() };
    } catch (error) {
      line = { name, failed: String(error?.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

// What a call throws; fails when it does not.
export async function thrown(call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    return error;
  }
  throw new Error(`nothing was thrown, it gave ${JSON.stringify(result)}`);
}
