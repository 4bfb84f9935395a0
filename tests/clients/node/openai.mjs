// The official `openai` client, with nothing but a base URL and a key.

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { gateway, key, question, run, thrown } from "./harness.mjs";

const client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: key });
const messages = [question];
const Place = z.object({ place: z.string(), metres: z.number().int() });
const measure = zodFunction({ name: "measure", parameters: Place });

const chat = (more) => client.chat.completions.create({ model: "test/plain", messages, ...more });

async function textOf(stream) {
  let text = "";
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { text, last: chunks.at(-1), count: chunks.length };
}

// The error's class among those that the client exports, and what it tells.
async function refusal(call) {
  const error = await thrown(call);
  const classes = Object.keys(OpenAI).filter(
    (name) => name.endsWith("Error") && error instanceof OpenAI[name],
  );
  return {
    classes,
    status: error.status ?? null,
    code: error.code ?? null,
    param: error.param ?? null,
    type: error.type ?? null,
    message: error.message,
    requestID: error.requestID ?? null,
    shouldRetry: error.headers?.get?.("x-should-retry") ?? null,
    retryAfter: error.headers?.get?.("retry-after") ?? null,
  };
}

await run({
  async chat() {
    const { data, response, request_id } = await chat().withResponse();
    return { answer: data, headers: Object.fromEntries(response.headers), request_id };
  },

  async stream() {
    return textOf(await chat({ stream: true }));
  },

  async stream_with_usage() {
    return textOf(await chat({ stream: true, stream_options: { include_usage: true } }));
  },

  async tools() {
    const asked = await chat({ tools: [measure] });
    const { message, finish_reason } = asked.choices[0];
    const call = message.tool_calls[0];
    const result = { role: "tool", tool_call_id: call.id, content: "42" };
    const answered = await chat({ messages: [question, message, result], tools: [measure] });
    return { finish_reason, call, answered: answered.choices[0] };
  },

  async streamed_tools() {
    const stream = client.chat.completions.stream({
      model: "test/plain",
      messages,
      tools: [measure],
    });
    const final = await stream.finalChatCompletion();
    return { choice: final.choices[0], usage: await stream.totalUsage() };
  },

  async tool_runner() {
    const places = [];
    const runner = client.chat.completions.runTools({
      model: "test/plain",
      messages,
      tools: [
        {
          type: "function",
          function: {
            name: "measure",
            parse: JSON.parse,
            parameters: z.toJSONSchema(Place),
            function: ({ place }) => {
              places.push(place);
              return "42 m";
            },
          },
        },
      ],
    });
    return { content: await runner.finalContent(), places };
  },

  async structured() {
    const answer = await client.chat.completions.parse({
      model: "test/plain",
      messages,
      response_format: zodResponseFormat(Place, "place"),
    });
    return answer.choices[0].message.parsed;
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: await client.models.retrieve("test/plain") };
  },

  async embeddings() {
    // Without an encoding the client asks for base64 and decodes it.
    const input = ["near", "far"];
    const packed = await client.embeddings.create({ model: "test/embed", input, dimensions: 4 });
    const plain = await client.embeddings.create({
      model: "test/embed",
      input,
      dimensions: 4,
      encoding_format: "float",
    });
    return {
      packed: packed.data.map((one) => Array.from(one.embedding)),
      plain: plain.data.map((one) => one.embedding),
      usage: plain.usage,
    };
  },

  wrong_key: () =>
    refusal(() =>
      new OpenAI({ baseURL: `${gateway}/v1`, apiKey: "tw_wrong" }).chat.completions.create({
        model: "test/plain",
        messages,
      }),
    ),
  unknown_model: () => refusal(() => chat({ model: "test/plian" })),
  wrong_parameter: () => refusal(() => chat({ temperature: 3 })),
  legacy_completions: () =>
    refusal(() => client.completions.create({ model: "test/plain", prompt: "x" })),
  limited: () =>
    refusal(() =>
      client.chat.completions.create({ model: "test/limited", messages }, { maxRetries: 0 }),
    ),
  broken: () => refusal(() => chat({ model: "test/broken" })),
  overloaded: () => refusal(() => chat({ model: "test/overloaded" })),
  silent: () => refusal(() => chat({ model: "test/silent" })),

  async cut() {
    let said = "";
    const error = await refusal(async () => {
      for await (const chunk of await chat({ model: "test/half", stream: true })) {
        said += chunk.choices[0]?.delta?.content ?? "";
      }
    });
    return { ...error, said };
  },
});
