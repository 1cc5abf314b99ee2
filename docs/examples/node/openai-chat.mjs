// Chat completions with the `openai` package: an answer, a stream, a tool, and who answered.
import OpenAI from "openai";

const router = process.env.ROUTER_URL ?? "http://localhost:8080";
const model = process.env.ROUTER_MODEL ?? "auto"; // or a target's id, which pins it
const client = new OpenAI({ baseURL: `${router}/v1`, apiKey: process.env.ROUTER_KEY ?? "any" });

const { data, response } = await client.chat.completions
  .create({ model, messages: [{ role: "user", content: "Summarise: the cat sat on the mat." }] })
  .withResponse();
console.log("answer:", data.choices[0].message.content);
console.log("target:", response.headers.get("x-llmrouter-target"));

const stream = client.chat.completions.stream({
  model,
  messages: [{ role: "user", content: "Translate 'good morning' into French." }],
});
console.log("stream:", await stream.finalContent());

const runner = client.chat.completions.runTools({
  model,
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        description: "The weather of a city",
        parameters: { type: "object", properties: { city: { type: "string" } } },
        parse: JSON.parse,
        function: ({ city }) => {
          console.log("tool:", city);
          return "18°";
        },
      },
    },
  ],
});
console.log("final:", await runner.finalContent());
