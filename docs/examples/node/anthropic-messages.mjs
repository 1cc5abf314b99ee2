// Messages with the `@anthropic-ai/sdk` package: models, tokens, an answer, a stream, a tool.
import Anthropic from "@anthropic-ai/sdk";

const router = process.env.ROUTER_URL ?? "http://localhost:8080";
const model = process.env.ROUTER_MODEL ?? "auto";
const client = new Anthropic({ baseURL: router, apiKey: process.env.ROUTER_KEY ?? "any" });
const messages = [{ role: "user", content: "Summarise: the cat sat on the mat." }];

const models = [];
for await (const found of client.models.list()) models.push(found.id);
console.log("models:", models.join(", "));
console.log("input tokens:", (await client.messages.countTokens({ model, messages })).input_tokens);

const { data, response } = await client.messages
  .create({ model, max_tokens: 500, messages })
  .withResponse();
console.log("answer:", data.content[0].text);
console.log("target:", response.headers.get("x-llmrouter-target"));

const stream = client.messages.stream({ model, max_tokens: 500, messages });
console.log("stream:", await stream.finalText());

const tools = [
  {
    name: "weather",
    description: "The weather of a city",
    input_schema: { type: "object", properties: { city: { type: "string" } } },
  },
];
const asked = [{ role: "user", content: "What is the weather in Paris?" }];
const called = await client.messages.create({ model, max_tokens: 500, messages: asked, tools });
const call = called.content.find((block) => block.type === "tool_use");
console.log("tool:", call.name, JSON.stringify(call.input));
asked.push({ role: "assistant", content: called.content });
asked.push({
  role: "user",
  content: [{ type: "tool_result", tool_use_id: call.id, content: "18°" }],
});
const final = await client.messages.create({ model, max_tokens: 500, messages: asked, tools });
console.log("final:", final.content[0].text);
