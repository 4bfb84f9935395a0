// Vercel's `ai` with `@ai-sdk/openai-compatible`, as its page says to set up a provider.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { gateway, key, question, run, thrown } from "./harness.mjs";

const provider = createOpenAICompatible({
  name: "tollway",
  baseURL: `${gateway}/v1`,
  apiKey: key,
  includeUsage: true,
  supportsStructuredOutputs: true,
  metadataExtractor: {
    extractMetadata: async ({ parsedBody }) => ({
      tollway: { cost: parsedBody.usage.cost, provider: parsedBody.metadata.used_provider },
    }),
    createStreamExtractor: () => {
      let last = {};
      return {
        processChunk(chunk) {
          if (chunk.usage) last = chunk;
        },
        buildMetadata: () => ({
          tollway: { cost: last.usage?.cost, provider: last.metadata?.used_provider },
        }),
      };
    },
  },
});
const model = provider("test/plain");
const prompt = question.content;
const Place = z.object({ place: z.string(), metres: z.number().int() });
const tools = {
  measure: tool({ inputSchema: Place, execute: async ({ place }) => `${place}: 42 m` }),
};

async function refusal(name, more = {}) {
  const error = await thrown(() =>
    generateText({ model: provider(name), prompt, maxRetries: 0, ...more }),
  );
  return {
    isCallError: APICallError.isInstance(error),
    status: error.statusCode ?? null,
    message: error.message,
    isRetryable: error.isRetryable ?? null,
    data: error.data ?? null,
  };
}

await run({
  async chat() {
    const { text, usage, finishReason, providerMetadata, response } = await generateText({
      model,
      prompt,
    });
    return { text, usage, finishReason, providerMetadata, id: response.id, model: response.modelId };
  },

  async stream() {
    const result = streamText({ model, prompt });
    let text = "";
    let pieces = 0;
    for await (const piece of result.textStream) {
      text += piece;
      pieces += 1;
    }
    const [usage, finishReason, providerMetadata] = await Promise.all([
      result.usage,
      result.finishReason,
      result.providerMetadata,
    ]);
    return { text, pieces, usage, finishReason, providerMetadata };
  },

  async tools() {
    const { text, steps } = await generateText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    return {
      text,
      steps: steps.map(({ finishReason, toolCalls, toolResults }) => ({
        finishReason,
        inputs: toolCalls.map((call) => call.input),
        outputs: toolResults.map((result) => result.output),
      })),
    };
  },

  async streamed_tools() {
    const result = streamText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    await result.consumeStream();
    const steps = await result.steps;
    return { text: await result.text, reasons: steps.map((step) => step.finishReason) };
  },

  async structured() {
    const { object } = await generateObject({ model, prompt, schema: Place });
    const { output } = await generateText({ model, prompt, output: Output.object({ schema: Place }) });
    return { object, output };
  },

  async reasoning() {
    const { text, reasoningText, usage } = await generateText({
      model: provider("test/thinking"),
      prompt,
      providerOptions: { tollway: { reasoningEffort: "low" } },
    });
    return { text, reasoningText, usage };
  },

  async embeddings() {
    const { embeddings, usage } = await embedMany({
      model: provider.embeddingModel("test/embed"),
      values: ["near", "far"],
      providerOptions: { tollway: { dimensions: 4 } },
    });
    return { embeddings, usage };
  },

  unknown_model: () => refusal("test/plian"),
  wrong_parameter: () => refusal("test/plain", { temperature: 3 }),
  broken: () => refusal("test/broken"),
  limited: () => refusal("test/limited"),

  async cut() {
    const parts = [];
    const result = streamText({
      model: provider("test/half"),
      prompt,
      maxRetries: 0,
      onError: () => {},
    });
    for await (const part of result.fullStream) parts.push(part);
    return {
      said: parts.filter((part) => part.type === "text-delta").map((part) => part.text).join(""),
      errors: parts
        .filter((part) => part.type === "error")
        .map(({ error }) => error?.message ?? error),
      finish: parts.find((part) => part.type === "finish")?.finishReason ?? null,
    };
  },
});
