// Responses with the `openai` package: an answer, a stream, a tool, and who answered.
import OpenAI from "openai";

const router = process.env.ROUTER_URL ?? "http://localhost:8080";
const model = process.env.ROUTER_MODEL ?? "auto";
const client = new OpenAI({ baseURL: `${router}/v1`, apiKey: process.env.ROUTER_KEY ?? "any" });

const { data, response } = await client.responses
  .create({ model, input: "Summarise: the cat sat on the mat." })
  .withResponse();
console.log("answer:", data.output_text);
console.log("target:", response.headers.get("x-llmrouter-target"));

const stream = client.responses.stream({ model, input: "Translate 'good morning' into French." });
let text = "";
for await (const event of stream) {
  if (event.type === "response.output_text.delta") text += event.delta;
}
console.log("stream:", text);
console.log("tokens:", (await stream.finalResponse()).usage.total_tokens);

const tools = [
  {
    type: "function",
    name: "weather",
    description: "The weather of a city",
    strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
];
// The router keeps no responses: send the whole conversation instead of previous_response_id.
const conversation = [{ role: "user", content: "What is the weather in Paris?" }];
const called = await client.responses.create({ model, input: conversation, tools });
const call = called.output.find((item) => item.type === "function_call");
console.log("tool:", call.name, call.arguments);
conversation.push(...called.output);
conversation.push({ type: "function_call_output", call_id: call.call_id, output: "18°" });
const final = await client.responses.create({ model, input: conversation, tools });
console.log("final:", final.output_text);
