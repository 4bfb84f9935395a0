// `@openrouter/ai-sdk-provider`, which reads what OpenRouter alone answers: cost, provider, reasoning.

import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { APICallError, embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { gateway, key, question, run, thrown } from "./harness.mjs";

const openrouter = createOpenRouter({ baseURL: `${gateway}/api/v1`, apiKey: key });
const settings = { usage: { include: true } };
const model = openrouter("test/plain", settings);
const prompt = question.content;
const Place = z.object({ place: z.string(), metres: z.number().int() });
const tools = {
  measure: tool({ inputSchema: Place, execute: async ({ place }) => `${place}: 42 m` }),
};

async function refusal(name, more = {}) {
  const error = await thrown(() =>
    generateText({ model: openrouter(name, settings), prompt, maxRetries: 0, ...more }),
  );
  return {
    isCallError: APICallError.isInstance(error),
    status: error.statusCode ?? null,
    message: error.message,
    data: error.data ?? null,
  };
}

await run({
  async chat() {
    const { text, usage, finishReason, providerMetadata, response } = await generateText({
      model,
      prompt,
    });
    return { text, usage, finishReason, openrouter: providerMetadata.openrouter, id: response.id };
  },

  async stream() {
    const result = streamText({ model, prompt });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    const metadata = await result.providerMetadata;
    return { text, openrouter: metadata.openrouter, finishReason: await result.finishReason };
  },

  async preferences() {
    const { providerMetadata } = await generateText({
      model: openrouter("test/both", { ...settings, provider: { only: ["beta"] } }),
      prompt,
    });
    const error = await refusal("test/plain", {
      providerOptions: { openrouter: { provider: { onyl: ["beta"] } } },
    });
    return { provider: providerMetadata.openrouter.provider, error };
  },

  async fallback() {
    const { response } = await generateText({
      model: openrouter("test/broken-first", { ...settings, models: ["test/plain"] }),
      prompt,
    });
    return { model: response.modelId };
  },

  async tools() {
    const { text, steps } = await generateText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    return { text, reasons: steps.map((step) => step.finishReason) };
  },

  async streamed_tools() {
    const result = streamText({ model, prompt, tools, stopWhen: stepCountIs(3) });
    await result.consumeStream();
    const steps = await result.steps;
    return { text: await result.text, reasons: steps.map((step) => step.finishReason) };
  },

  async structured() {
    const { object } = await generateObject({ model, prompt, schema: Place });
    return object;
  },

  async reasoning() {
    const thinking = openrouter("test/thinking", { ...settings, reasoning: { effort: "low" } });
    const whole = await generateText({ model: thinking, prompt });
    const result = streamText({ model: thinking, prompt });
    await result.consumeStream();
    return {
      whole: { text: whole.text, reasoning: whole.reasoningText, usage: whole.usage },
      streamed: { text: await result.text, reasoning: await result.reasoningText },
    };
  },

  async embeddings() {
    const { embeddings, usage } = await embedMany({
      model: openrouter.textEmbeddingModel("test/embed"),
      values: ["near", "far"],
    });
    return { sizes: embeddings.map((one) => one.length), usage };
  },

  unknown_model: () => refusal("test/plian"),
  wrong_parameter: () => refusal("test/plain", { temperature: 3 }),
  broken: () => refusal("test/broken"),

  async cut() {
    const parts = [];
    const result = streamText({
      model: openrouter("test/half", settings),
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
